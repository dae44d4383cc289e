"""The errors a user can meet, each told in one sentence that names what, where and what to do next.

Only error types belong here. Code that raises one writes the sentence; code that catches one prints it as it stands.
"""


class PipelineError(Exception):
    """Anything this package tells the user; the command line prints it without a traceback."""


class SettingsError(PipelineError):
    """A setting has a value that cannot work. Raised before anything is started."""


class UsageError(PipelineError):
    """The caller asked for something that does not exist: a holiday, a reversed range, an unknown name."""


class SourceError(PipelineError):
    """A vendor did not deliver. Always one of the two subclasses."""


class TransientSourceError(SourceError):
    """Healing by itself: a time-out, a 5xx, a spent quota, a day that is not published yet. Worth a later retry."""


class NotYetAvailableError(TransientSourceError):
    """The vendor has not published this day yet; retrying within the same run is pointless."""


class PermanentSourceError(SourceError):
    """Never heals by retrying: a wrong key, a plan without this history, an unknown ticker."""


class LakeError(PipelineError):
    """Something stored cannot be read or written: a full disk, a corrupt file, a newer format."""


class TransientLakeError(LakeError):
    """Healing by itself: throttling, a 5xx, a lost connection that outlived the client's own retries."""


class QueryError(LakeError):
    """The SQL engine refused or failed a statement."""


class UnreadableFileError(QueryError):
    """The statement is right, but the engine met a file, or a value in one, that it cannot read."""


class TransientQueryError(QueryError, TransientLakeError):
    """The engine was overloaded or failed by itself, and repeating within the call did not help."""


class QueryDeadlineError(QueryError):
    """The statement ran longer than it may and was stopped."""


class SqlNotAllowedError(QueryError):
    """A statement outside the allow-list, so that what runs on one machine also runs on Athena."""


class ConflictError(LakeError):
    """Another writer holds or changed the table; nothing was published by this one."""
