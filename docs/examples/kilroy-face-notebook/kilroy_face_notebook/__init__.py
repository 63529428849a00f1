"""A face that publishes into a file. `KIND` is what the entry point names; it must stay cheap to import."""

from faces.registry import FaceKind

KIND = FaceKind(
    label="Notebook",
    description="A file on this machine, one post a line.",
    face="kilroy_face_notebook.face.NotebookFace",
    form="kilroy_face_notebook.forms.NotebookForm",
)
