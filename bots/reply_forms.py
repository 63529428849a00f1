"""The form of a bot's rules for replies. It reads; `bots.services.replies` decides."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from bots.models import ReplyRules
from faces.contract import Capabilities

LANGUAGE = re.compile(r"[a-z]{2,3}")


class ReplyRulesForm(forms.ModelForm):
    """Communities are asked for only where the platform lets bots speak there unasked."""

    communities = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    keywords = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    languages = forms.CharField(required=False)

    groups: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("", ("active",)),
        ("Whom to answer", ("mentions", "comments", "answer_bots", "communities", "community_permission")),
        (
            "Which posts",
            ("youngest_minutes", "oldest_minutes", "least_score", "deepest", "keywords", "languages"),
        ),
        ("How much", ("per_thread", "per_author", "per_hour", "every_minutes")),
        ("Which answer", ("candidates", "least_realism")),
    )

    class Meta:
        model = ReplyRules
        fields = (
            "active",
            "mentions",
            "comments",
            "answer_bots",
            "communities",
            "community_permission",
            "youngest_minutes",
            "oldest_minutes",
            "least_score",
            "deepest",
            "keywords",
            "languages",
            "per_thread",
            "per_author",
            "per_hour",
            "every_minutes",
            "candidates",
            "least_realism",
        )
        labels = {
            "active": "Answer others",
            "mentions": "Mentions",
            "comments": "Comments",
            "answer_bots": "Other bots",
            "community_permission": "Permission of those communities",
            "youngest_minutes": "Youngest age in minutes",
            "oldest_minutes": "Oldest age in minutes",
            "least_score": "Fewest likes",
            "deepest": "Most posts above it",
            "per_thread": "Answers in one thread",
            "per_author": "Answers to one author in 24 hours",
            "per_hour": "Answers in an hour",
            "every_minutes": "Minutes between two looks",
            "candidates": "Candidates for each answer",
            "least_realism": "Least realism",
        }
        help_texts = {
            "active": "Off until you turn it on: nothing is read, and nobody is answered.",
            "youngest_minutes": "Younger posts are left for later, by the platform's clock.",
            "oldest_minutes": "Older posts are skipped. 1440 is a day.",
            "deepest": "Posts further down in a thread are skipped.",
            "per_thread": "Further posts in the thread are skipped for good.",
            "per_author": "Further posts by the same author are skipped.",
            "per_hour": "Counted over the last 60 minutes; further posts are skipped.",
            "every_minutes": "How often Kilroy reads what is new.",
            "community_permission": "Where their rules allow bots that answer unasked: a link, or who agreed and when.",
            "candidates": "Answers that are drawn for each post; the best that nothing speaks against is proposed.",
            "least_realism": "From 0 to 1: drop candidates that the discriminator takes for real with less than this "
            "probability. 0 drops none.",
            "answer_bots": "Also answer accounts that are automated. Two bots that answer each other stop at the caps "
            "below.",
        }

    def __init__(self, data: Any = None, *, can: Capabilities, instance: ReplyRules) -> None:
        initial = {name: "\n".join(getattr(instance, name)) for name in ("communities", "keywords")}
        super().__init__(data, instance=instance, initial=initial | {"languages": ", ".join(instance.languages)})
        self.fields["communities"].help_text = "One per line. Posts there are answered unasked."
        self.fields["keywords"].help_text = "One word or phrase per line: only posts with one of them. Empty: any."
        self.fields[
            "languages"
        ].help_text = (
            "Codes like “en, de”: only posts in these. Empty: any. A post whose language does not show is answered."
        )
        if can.replies != "community" or "communities" not in can.reads:
            del self.fields["communities"], self.fields["community_permission"]

    def sections(self) -> list[tuple[str, list[forms.BoundField]]]:
        """The fields under their headings."""
        return [(title, [self[name] for name in names if name in self.fields]) for title, names in self.groups]

    def clean_communities(self) -> list[str]:
        return _lines(self.cleaned_data["communities"])

    def clean_keywords(self) -> list[str]:
        return _lines(self.cleaned_data["keywords"])

    def clean_languages(self) -> list[str]:
        codes = [code for code in re.split(r"[\s,;]+", self.cleaned_data["languages"].lower()) if code]
        if wrong := [code for code in codes if not LANGUAGE.fullmatch(code)]:
            raise ValidationError(f"“{wrong[0]}” is no code of a language. Use codes like en or de.")
        return codes


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
