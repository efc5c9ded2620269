"""One example's prompt as each model reads it, side by side."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from distillkit.core.types import Split
from distillkit.preflight.finding import Finding, ok
from distillkit.preflight.subject import MissingPartError, Subject


def side_by_side(subject: Subject) -> Iterator[Finding]:
    """Decoded from the ids that a run would use, special tokens included."""
    if not subject.examples.get(Split.train):
        raise MissingPartError("the dataset could not be read")
    example = subject.examples[Split.train][0]
    table = Table(show_edge=False, expand=False)
    cells = []
    for side, model in (("teacher", subject.teacher), ("student", subject.student)):
        ids = model.prompts.prompt_ids(example)
        table.add_column(f"{side} ({model.prompts.style}, {len(ids)} tokens)", ratio=1)
        cells.append(Text(str(model.tokenizer.decode(ids, skip_special_tokens=False))))
    table.add_row(*cells)
    styles = f"{subject.teacher.prompts.style} and {subject.student.prompts.style}"
    same = cells[0].plain == cells[1].plain
    yield ok(
        f"prompt of {example.id}, teacher.prompt and student.prompt are {styles}: "
        f"{'the same text' if same else 'different text, as shown'}",
        shown=table,
    )
