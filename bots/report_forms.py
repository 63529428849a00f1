"""What somebody says who reports a post, and an organization that appeals against a sanction."""

from __future__ import annotations

from django import forms

from bots.models import Report


class MemberReportForm(forms.Form):
    """A report on a post of one's own organization."""

    category = forms.ChoiceField(label="What is wrong with it?", choices=Report.Category.choices)
    text = forms.CharField(
        label="What should the operator know?",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class PublicReportForm(MemberReportForm):
    """A report by anybody, who names the post by its link."""

    address = forms.URLField(
        label="Link of the post",
        max_length=500,
        assume_scheme="https",
        help_text="As your browser shows it, beginning with https://.",
    )
    email = forms.EmailField(
        label="Your e-mail address", required=False, help_text="Only if you want to be told of the decision."
    )
    field_order = ["address", "category", "text", "email"]


class AppealForm(forms.Form):
    """Why a sanction should be lifted."""

    text = forms.CharField(
        label="Why should it be lifted?",
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="You can appeal once. The operator's answer appears here.",
    )
