"""A kind of face whose platform asks the account's owner: for tests of the way there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms

from faces.contract import FaceError
from faces.oauth import Departure, Flow
from faces.registry import FaceKind
from tests.fake_platform import FakePlatform, fake_face

PLATFORM = FakePlatform()
FakeFace = fake_face(PLATFORM)


class FakeForm(forms.Form):
    secret_fields = ("client_secret", "token")
    token_fields = ("token",)
    steps = ("Open the platform and enter the redirect URL there.",)

    client_id = forms.CharField(max_length=40)
    client_secret = forms.CharField(max_length=40, required=False)
    token = forms.CharField(max_length=40, required=False)


class FakeFlow(Flow):
    """Gives `token-of-<code>`; refuses the code "bad"."""

    begun: ClassVar[list[tuple[dict[str, Any], dict[str, Any], str]]] = []
    finished: ClassVar[list[str]] = []

    def begin(self, settings: Mapping[str, Any], given: Mapping[str, Any], callback: str, state: str) -> Departure:
        self.begun.append((dict(settings), dict(given), callback))
        return Departure(f"https://platform.example/allow?state={state}", {"verifier": "canary-verifier"})

    def finish(
        self, settings: Mapping[str, Any], given: Mapping[str, Any], keep: Mapping[str, Any], code: str, callback: str
    ) -> dict[str, Any]:
        assert keep == {"verifier": "canary-verifier"}
        self.finished.append(code)
        if code == "bad":
            raise FaceError("Fake answered 400: the code is not valid.", permanent=True)
        return {**given, "token": f"token-of-{code}", "refresh_token": "canary-refresh"}


FAKE_KIND = FaceKind(
    label="Fake",
    description="A platform for tests.",
    face="tests.faces.fake_kind.FakeFace",
    form="tests.faces.fake_kind.FakeForm",
    flow="tests.faces.fake_kind.FakeFlow",
)
