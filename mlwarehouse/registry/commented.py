"""Comments on registered models and their versions: written by anybody, changed by whoever wrote them."""

from __future__ import annotations

from functools import partial

from mlwarehouse.entities import ModelComment
from mlwarehouse.registry import names, rules
from mlwarehouse.registry.ledger import Ledger


class Commented:
    """The comments of a registry. Threads may share it."""

    _ledger: Ledger

    def add_comment(self, name: str, text: str, version: int | str | None = None) -> ModelComment:
        """Comment on a model, or on one of its versions.

        Args:
            name: The registered model.
            text: Markdown.
            version: The version; None for the model.

        Raises:
            InvalidInputError: The text is empty.
            NotFoundError: No such model or version.
        """
        number = None if version is None else names.version_number(version)
        decide = partial(rules.add_comment, version=number, text=names.comment_text(text))
        state = self._ledger.change("add_comment", names.model_name(name), number, decide, {"text": text})
        return state.comment(state.last_seq)

    def edit_comment(self, name: str, comment_id: int, text: str) -> ModelComment:
        """Give one's own comment another text.

        Raises:
            InvalidInputError: The text is empty.
            NotFoundError: No such model or comment.
            PermissionDeniedError: It is somebody else's.
        """
        comment_id = names.event_number(comment_id, "comment")
        decide = partial(
            rules.edit_comment, number=comment_id, text=names.comment_text(text), actor=self._ledger.actor.name
        )
        state = self._ledger.change(
            "edit_comment", names.model_name(name), None, decide, {"comment_id": comment_id, "text": text}
        )
        return state.comment(comment_id)

    def delete_comment(self, name: str, comment_id: int) -> None:
        """Delete one's own comment; its text stays in the history.

        Raises:
            NotFoundError: No such model or comment.
            PermissionDeniedError: It is somebody else's.
        """
        comment_id = names.event_number(comment_id, "comment")
        decide = partial(rules.delete_comment, number=comment_id, actor=self._ledger.actor.name)
        self._ledger.change("delete_comment", names.model_name(name), None, decide, {"comment_id": comment_id})
