"""What schemathesis makes of the OpenAPI document, sent to the site in process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import schemathesis
from drf_spectacular.generators import SchemaGenerator
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.fuzz.document import every_nth_path, with_rows
from tests.fuzz.door import Door
from tests.fuzz.worlds import make_twins

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "refuses_what_the_document_forbids",
)


@dataclass
class Report:
    """What a campaign came to. `failures`: operation and check → one case of it."""

    cases: int = 0
    operations: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    marked: int = 0

    @property
    def found(self) -> list[str]:
        """Everything that should not be, in words."""
        errors = [f"server error: {name}\n{told}" for name, told in self.errors.items()]
        return [*self.breaches, *errors, *(f"{name}\n{told}" for name, told in self.failures.items())]

    def summary(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "operations": self.operations,
            "answers": {str(code): count for code, count in sorted(self.statuses.items())},
            "server_errors": len(self.errors),
            "breaches": len(self.breaches),
            "failures": len(self.failures),
        }


def run(*, examples: int, coverage: int, seed: int = 1) -> Report:
    """Fuzz every operation with `examples` cases, and every n-th path (n = `coverage`; 0: none) with the cases at the
    borders of what its schema allows.
    """
    twins = make_twins()
    door = Door(twins, seed)
    report = Report(marked=min(twin.marked for twin in twins))
    document = with_rows(SchemaGenerator().get_schema(request=None, public=True), twins)
    report.operations = sum(len(methods) for methods in document["paths"].values())
    with _quietly():
        try:
            _phase(document, door, report, seed, {"examples": {}, "fuzzing": {}}, examples)
            if coverage:
                _phase(every_nth_path(document, coverage, seed), door, report, seed, {"coverage": {}}, 1)
        finally:
            door.close()
    report.cases, report.statuses = door.cases, door.statuses
    report.breaches, report.errors = door.breaches, door.errors
    return report


def _phase(
    document: dict[str, Any], door: Door, report: Report, seed: int, phases: dict[str, Any], examples: int
) -> None:
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "workers": 1,
            "continue-on-failure": True,
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "no-shrink": True,
                "with-security-parameters": False,
                "database": "none",
            },
            "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
            "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = door
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _collect(event.recorder, report)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            told = getattr(event, "info", None) or getattr(event, "exception", None)
            report.failures.setdefault(f"{getattr(event, 'label', '')} could not be tested", str(told))


def _collect(recorder: Any, report: Report) -> None:
    for case, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                answer = recorder.interactions[case].response
                told = f"{failure.title}: {failure.message}\n{check.failure_info.code_sample}"
                shown = answer.content[:1000].decode("utf-8", "replace") if answer and answer.content else ""
                report.failures.setdefault(f"{recorder.label} {check.name}", f"{told}\n{shown}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Nobody waits for a worker, and no name resolves: nothing here may reach a network."""

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(f"{host} is not looked up here")

    with (
        mock.patch("training.generation_api.WAIT_SECONDS", 0.0),
        mock.patch("training.streaming.LONGEST", 0.0),
        mock.patch("accounts.outbound.socket.getaddrinfo", resolve),
    ):
        yield
