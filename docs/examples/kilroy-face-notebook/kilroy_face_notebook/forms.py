"""What connecting a notebook asks for. Fields named in `secret_fields` would be sealed."""

from django import forms


class NotebookForm(forms.Form):
    path = forms.CharField(max_length=500, help_text="The file; its folder must exist.")
