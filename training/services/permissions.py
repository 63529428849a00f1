"""Whether a model may learn from a dataset, after it was uploaded: taken back, or given."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from training.models import Dataset, Example, Harvest, Run


@transaction.atomic
def withdraw(dataset_id: UUID | str) -> Dataset:
    """Take the permission back: no training begins with the dataset any more, and online learning leaves it out from
    its next round on. Versions that learned from it stay. Raises ValidationError while a fine-tuning that learns from
    it is under way: it must find the same posts in every slice.
    """
    dataset = _of_a_person(dataset_id)
    if dataset.uses.filter(run__state__in=Run.LIVING).exists():
        raise ValidationError("A training learns from this dataset: stop it first, then take the permission back.")
    return _set(dataset, "dataset.withdraw", may_learn=False)


@transaction.atomic
def allow(dataset_id: UUID | str) -> Dataset:
    """Record that a model may learn from the dataset, and from each of its posts."""
    dataset = _of_a_person(dataset_id)
    Example.objects.filter(dataset=dataset, may_learn=False).update(may_learn=True)
    return _set(dataset, "dataset.allow", may_learn=True)


def _of_a_person(dataset_id: UUID | str) -> Dataset:
    """The dataset, locked. Raises ValidationError while it is imported, or where its connection decides."""
    importing = Dataset.objects.filter(pk=dataset_id, state=Dataset.State.IMPORTING)
    if importing.exists():  # asked before the lock, which the import holds to its end
        raise ValidationError("This dataset is being imported: wait until that is over.")
    if harvest := Harvest.objects.select_related("connection").filter(dataset=dataset_id).first():
        raise ValidationError(
            f"These posts are read from {harvest.connection}: whether a model may learn from them is said on the page "
            "of that connection."
        )
    return Dataset.locked(dataset_id)


def _set(dataset: Dataset, action: str, *, may_learn: bool) -> Dataset:
    before, dataset.may_learn = dataset.may_learn, may_learn
    dataset.save(update_fields=["may_learn"])
    audit.record(action, dataset, before={"may_learn": before}, after={"may_learn": may_learn})
    return dataset
