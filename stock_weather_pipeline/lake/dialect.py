"""One SQL dialect for both deployments, Athena's: a statement is checked against an allow-list and put into DuckDB's.

What runs here must mean the same on Athena, so a form or function that differs is repaired or refused, never let
through. Which tables exist and running the statement are the engine's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, NoReturn

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.athena import Athena
from sqlglot.dialects.trino import Trino
from sqlglot.errors import SqlglotError
from sqlglot.generators.duckdb import DuckDBGenerator

from stock_weather_pipeline.errors import QueryError, SqlNotAllowedError
from stock_weather_pipeline.lake.layout import PROD_DATABASE

Schema = Mapping[tuple[str, str], Mapping[str, str]]

# --- what is allowed -------------------------------------------------------------------------------------------------

_FUNCTIONS_BY_TOPIC = {
    "aggregates": "approx_distinct approx_percentile array_agg avg bool_and bool_or corr count count_if covar_pop "
    "covar_samp grouping max max_by min min_by regr_intercept regr_slope stddev stddev_pop stddev_samp sum var_pop "
    "var_samp variance",
    "windows": "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number",
    "numbers": "abs ceil ceiling exp floor greatest infinity is_finite is_infinite is_nan least ln log10 mod nan pi "
    "pow power round sign sqrt",
    "text and arrays": "cardinality concat contains element_at length lower lpad ltrim regexp_extract regexp_like "
    "regexp_replace replace reverse rpad rtrim sequence split split_part starts_with strpos substr substring trim "
    "upper",
    "dates and times": "at_timezone date date_add date_diff date_format date_trunc day day_of_month day_of_week "
    "day_of_year dow doy extract from_unixtime hour minute month now quarter second to_unixtime week week_of_year "
    "with_timezone year",
    "conditions and conversions": "cast coalesce if nullif try try_cast",
}
FUNCTIONS = frozenset(name for names in _FUNCTIONS_BY_TOPIC.values() for name in names.split())

_INSTEAD = {
    "approx_count_distinct": "use approx_distinct(x)",
    "array_length": "use cardinality(x)",
    "date_part": "use extract(field FROM x)",
    "date_sub": "use date_add with a negative number",
    "dateadd": "use date_add('day', n, x)",
    "datediff": "use date_diff('day', a, b)",
    "epoch": "use to_unixtime(x)",
    "generate_series": "use sequence(a, b)",
    "ifnull": "use coalesce(a, b)",
    "isfinite": "use is_finite(x)",
    "isinf": "use is_infinite(x)",
    "isnan": "use is_nan(x)",
    "isodow": "use day_of_week(x)",
    "len": "use length(x)",
    "list": "use array_agg(x)",
    "median": "use approx_percentile(x, 0.5)",
    "nvl": "use coalesce(a, b)",
    "reduce": "use a window function",
    "slice": "use element_at(x, i)",
    "strftime": "use date_format(x, '%Y-%m-%d')",
    "string_split": "use split(x, separator)",
    "strptime": "use CAST(x AS TIMESTAMP)",
    "timezone": "use at_timezone(x, zone)",
    "to_timestamp": "use from_unixtime(x)",
}

_OPERATORS = frozenset(
    ["(", ")", ",", ".", ";", "+", "-", "*", "/", "%", "=", "<>", "!=", "<", ">", "<=", ">=", "||", "[", "]"]
)
_OPERATOR_INSTEAD = {
    "::": "write CAST(x AS type)",
    "==": "write =",
    "//": "write / between integers",
    "**": "write power(a, b)",
    "^": "write power(a, b)",
    "->": "Athena's lambdas cannot be translated",
    "{": "struct literals are DuckDB's",
    ":": "write expression AS name",
    "~": "write regexp_like(x, pattern)",
}

_KEYWORD_INSTEAD = {
    TokenType.ILIKE: ("ILIKE", "write lower(x) LIKE lower(pattern)"),
    TokenType.GLOB: ("GLOB", "write LIKE or regexp_like(x, pattern)"),
    TokenType.RLIKE: ("RLIKE", "write regexp_like(x, pattern)"),
    TokenType.SIMILAR_TO: ("SIMILAR TO", "write regexp_like(x, pattern)"),
    TokenType.ASOF: ("ASOF JOIN", "join on a range or use a window function"),
    TokenType.PIVOT: ("PIVOT", "write one CASE expression for each column"),
    TokenType.UNPIVOT: ("UNPIVOT", "write CROSS JOIN UNNEST"),
    TokenType.NATURAL: ("NATURAL JOIN", "write JOIN ... USING (column)"),
    TokenType.SEMI: ("SEMI JOIN", "write WHERE EXISTS (SELECT ...)"),
    TokenType.ANTI: ("ANTI JOIN", "write WHERE NOT EXISTS (SELECT ...)"),
    TokenType.LATERAL: ("LATERAL", "write CROSS JOIN UNNEST or a subquery"),
    TokenType.TABLE_SAMPLE: ("TABLESAMPLE", "filter the rows in WHERE"),
    TokenType.PARAMETER: ("a parameter", "write the value"),
    TokenType.PLACEHOLDER: ("a parameter", "write the value"),
}

# Words that may stand before a parenthesis without being a function.
_BEFORE_PARENTHESIS = frozenset(
    [
        "all",
        "and",
        "any",
        "array",
        "as",
        "between",
        "by",
        "case",
        "cross",
        "cube",
        "decimal",
        "distinct",
        "else",
        "escape",
        "except",
        "exists",
        "filter",
        "from",
        "having",
        "in",
        "intersect",
        "is",
        "join",
        "like",
        "not",
        "offset",
        "on",
        "or",
        "ordinality",
        "over",
        "rollup",
        "select",
        "sets",
        "then",
        "union",
        "unnest",
        "using",
        "values",
        "when",
        "where",
        "with",
    ]
)

_SELECT_PARTS = frozenset(
    [
        "expressions",
        "from",
        "joins",
        "where",
        "group",
        "having",
        "windows",
        "order",
        "limit",
        "offset",
        "distinct",
        "with",
        "kind",
        "hint",
    ]
)

_FORMS: tuple[type[exp.Expr], ...] = (
    exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.With, exp.CTE, exp.TableAlias, exp.Table,
    exp.Values, exp.Tuple, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit,
    exp.Offset, exp.Distinct, exp.Star, exp.Column, exp.Identifier, exp.Alias, exp.Literal, exp.Null, exp.Boolean,
    exp.Paren, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between,
    exp.In, exp.Is, exp.Like, exp.Escape, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Var, exp.Window,
    exp.WindowSpec, exp.IgnoreNulls, exp.RespectNulls, exp.Filter, exp.Unnest, exp.GroupingSets, exp.Rollup, exp.Cube,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.DPipe, exp.Bracket, exp.AtTimeZone, exp.Any,
)  # fmt: skip

_TYPES = {
    exp.DType.BOOLEAN: "boolean",
    exp.DType.TINYINT: "integer",
    exp.DType.SMALLINT: "integer",
    exp.DType.INT: "integer",
    exp.DType.BIGINT: "integer",
    exp.DType.FLOAT: "double",
    exp.DType.DOUBLE: "double",
    exp.DType.DECIMAL: "decimal",
    exp.DType.VARCHAR: "varchar",
    exp.DType.DATE: "date",
    exp.DType.TIMESTAMP: "timestamp",
}
_INTERVAL_UNITS = frozenset(["second", "minute", "hour", "day", "month", "year"])


def _refused(what: str, instead: str = "") -> SqlNotAllowedError:
    return SqlNotAllowedError(f"{what}: {instead}." if instead else f"{what}.")


# --- parsing ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)  # the views' text is parsed again for every query on them
def parse(sql: str) -> exp.Query:
    """The one query in `sql`, in Athena's dialect and within the allow-list; to be read, since others share it.

    Raises SqlNotAllowedError with a sentence that names the form or function and, where there is one, Athena's way.
    """
    try:
        tokens = Trino().tokenize(sql)
        _check_beginning(tokens)
        statements = [statement for statement in Athena().parse(sql) if statement is not None]
    except SqlglotError as error:
        _check_tokens_if_readable(sql)
        raise SqlNotAllowedError(f"This is not valid SQL: {_first_error(error)}.") from error
    if len(statements) > 1:
        raise _refused(f"{len(statements)} statements were given", "write one SELECT and nothing after its semicolon")
    statement = statements[0]
    _check_tokens(tokens)
    if not isinstance(statement, (exp.Select, exp.SetOperation, exp.Subquery)):
        raise _refused("The statement is not a query", "only SELECT and WITH are allowed")
    _check_tree(statement, tokens)
    return statement


def _first_error(error: SqlglotError) -> str:
    details = getattr(error, "errors", None)
    if details:
        first = details[0]
        return f"{first['description'].rstrip('.')} in line {first['line']} near '{first['highlight']}'"
    return str(error).splitlines()[0].rstrip(".")


def _check_beginning(tokens: Sequence[Token]) -> None:
    first = next((token.text.upper() for token in tokens if token.text != ";"), None)
    if first is None:
        raise _refused("The statement is empty", "write one SELECT")
    if first not in ("SELECT", "WITH", "FROM", "("):
        raise _refused(f"A statement that begins with {first} is not a query", "only SELECT and WITH are allowed")


def _check_tokens_if_readable(sql: str) -> None:
    """A statement that cannot be parsed often holds a form worth naming."""
    try:
        tokens = Trino().tokenize(sql)
    except SqlglotError:
        return
    _check_tokens(tokens, functions=False)


def _check_tokens(tokens: Sequence[Token], *, functions: bool = True) -> None:
    depth_of_limit: list[bool] = [False]
    aliases = {b.text.lower() for a, b in pairwise(tokens) if a.text.lower() in ("as", "with", ",")}
    for n, token in enumerate(tokens):
        before = tokens[n - 1] if n else None
        after = tokens[n + 1] if n + 1 < len(tokens) else None
        text = token.text
        word = text.lower()
        if token.token_type is TokenType.STRING:
            if before is not None and before.token_type is TokenType.STRING:
                raise _refused("Two texts in a row are not allowed", "write 'a' || 'b'")
            continue
        if after is not None and (text + after.text in ("//", "**") or _is_glued_number(token, after)):
            _refuse_operator(text + after.text)
        if word == "qualify" and token.token_type is TokenType.VAR:
            raise _refused("QUALIFY is not allowed", "filter the window function in an outer SELECT")
        if token.token_type in _KEYWORD_INSTEAD and not (after is not None and after.text == "(" and word == "glob"):
            what, instead = _KEYWORD_INSTEAD[token.token_type]
            raise _refused(f"{what} is not allowed", instead)
        if token.token_type is TokenType.IDENTIFIER:
            # "table$snapshots" is the history of an Iceberg table.
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ ]*|[A-Za-z_][A-Za-z0-9_]*\$snapshots", text):
                raise _refused(f'The name "{text}" is not allowed', "names are letters, digits and underscores")
        elif token.token_type is TokenType.NUMBER:
            if not re.fullmatch(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text):
                raise _refused(f"The number {text} is not written as Athena reads it")
        elif not re.fullmatch(r"\w+( \w+)*", text) and text not in _OPERATORS:
            _refuse_operator(text)
        if text == "[" and (before is None or not _can_be_indexed(before)):
            raise _refused("A list literal in brackets is not allowed", "write ARRAY[...]")
        if token.token_type is TokenType.INTERVAL:
            _check_interval(tokens, n)
        if text == "(":
            depth_of_limit.append(False)
        elif text == ")" and len(depth_of_limit) > 1:
            depth_of_limit.pop()
        elif token.token_type is TokenType.LIMIT:
            depth_of_limit[-1] = True
        elif token.token_type is TokenType.OFFSET and depth_of_limit[-1]:
            raise _refused("OFFSET after LIMIT is not allowed", "write OFFSET n LIMIT m")
        if functions and after is not None and after.text == "(" and re.fullmatch(r"\w+", text):
            is_name = token.token_type is TokenType.IDENTIFIER or not (
                word in _BEFORE_PARENTHESIS or token.token_type is TokenType.NUMBER
            )
            if is_name and word not in FUNCTIONS and not _names_columns(tokens, n, aliases):
                raise _unknown_function(word)
        if word == "float" and token.token_type is TokenType.FLOAT:
            raise _refused("The type FLOAT is not allowed", "write REAL or DOUBLE")


def _is_glued_number(token: Token, after: Token) -> bool:
    """`1_000` and `0xFF` are read as a number and its alias."""
    return token.token_type is TokenType.NUMBER and after.token_type is TokenType.VAR and after.start == token.end + 1


def _refuse_operator(text: str) -> NoReturn:
    raise _refused(f"{text} is not allowed", _OPERATOR_INSTEAD.get(text, "it is not Athena's SQL"))


def _unknown_function(name: str) -> SqlNotAllowedError:
    return _refused(
        f"The function {name}() is not on the list of functions that run the same here and on Athena",
        _INSTEAD.get(name, ""),
    )


def _names_columns(tokens: Sequence[Token], n: int, aliases: set[str]) -> bool:
    """Whether the name at `n` is a table's alias with a list of columns: `AS t (a, b)`, `) t (a)`, `WITH t (a) AS`."""
    previous = tokens[n - 1].text.lower() if n else ""
    if previous in ("as", "with"):
        return True
    closing = _closing(tokens, n + 1)
    names_only = all(
        token.text == "," or (re.fullmatch(r"\w+", token.text) and token.token_type is not TokenType.NUMBER)
        for token in tokens[n + 2 : closing]
    )
    after = tokens[closing + 1].text.lower() if closing + 1 < len(tokens) else ""
    return names_only and (previous in (")", "ordinality") or (tokens[n].text.lower() in aliases and after == "as"))


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for n in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[n].text, 0) if tokens[n].token_type is not TokenType.STRING else 0
        if depth == 0:
            return n
    return len(tokens) - 1


def _can_be_indexed(token: Token) -> bool:
    return token.text in (")", "]") or token.token_type in (TokenType.VAR, TokenType.IDENTIFIER, TokenType.ARRAY)


def _check_interval(tokens: Sequence[Token], n: int) -> None:
    rest = [token for token in tokens[n + 1 : n + 4] if token.text not in ("+", "-")]
    right = (
        len(rest) >= 2
        and rest[0].token_type is TokenType.STRING
        and rest[0].text.lstrip("+-").isdigit()
        and rest[1].text.lower() in _INTERVAL_UNITS
    )
    if not right:
        raise _refused(
            "This INTERVAL is not written as Athena reads it",
            "write INTERVAL '1' DAY with second, minute, hour, day, month or year",
        )


def _check_tree(statement: exp.Query, tokens: Sequence[Token]) -> None:
    quoted = {token.text for token in tokens if token.token_type is TokenType.IDENTIFIER}
    for node in statement.walk():
        if isinstance(node, exp.Func):
            _check_function(node)
        elif type(node) not in _FORMS:
            raise _refused(f"{_shown(node)} is not among the SQL forms that run the same here and on Athena")
        check = _CHECKS.get(type(node))
        if check is not None:
            check(node)
        if isinstance(node, exp.Table):
            _check_table(node, quoted)
    if sum(1 for _ in statement.find_all(exp.Select)) > _count(tokens, TokenType.SELECT):
        raise _refused("A query that begins with FROM is not allowed", "write SELECT * FROM table")
    conditional = sum(1 for join in statement.find_all(exp.Join) if join.kind == "CROSS" or _has_condition(join))
    if conditional < _count(tokens, TokenType.JOIN):
        raise _refused("A JOIN without a condition is not allowed", "write ON, USING or CROSS JOIN")


def _count(tokens: Sequence[Token], kind: TokenType) -> int:
    return sum(1 for token in tokens if token.token_type is kind)


def _has_condition(join: exp.Join) -> bool:
    return bool(join.args.get("on") or join.args.get("using"))


def _shown(node: exp.Expr) -> str:
    text = node.sql("athena")
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_function(node: exp.Func) -> None:
    # A function written without parentheses is not seen among the tokens.
    if isinstance(node, exp.Anonymous) and node.name.lower() not in FUNCTIONS:
        raise _unknown_function(node.name.lower())
    if isinstance(node, (exp.CurrentTime, exp.CurrentUser, exp.Localtime, exp.Localtimestamp)):
        raise _refused(f"{_shown(node)} is not allowed", "use current_date or current_timestamp")


def _check_select(node: exp.Expr) -> None:
    for part, value in node.args.items():
        if value and part.rstrip("_") not in _SELECT_PARTS:
            raise _refused(f"{part.rstrip('_').upper()} in a SELECT is not Athena's SQL", "leave it out")


def _check_star(node: exp.Expr) -> None:
    if any(node.args.values()):
        raise _refused("EXCLUDE, REPLACE or RENAME after * is not allowed", "name the columns")


def _check_group(node: exp.Expr) -> None:
    if node.args.get("all") is not None:
        raise _refused("GROUP BY ALL is not allowed", "name the columns to group by")


def _check_order(node: exp.Expr) -> None:
    for ordered in node.expressions:
        column = ordered.this
        if isinstance(column, exp.Column) and column.name.lower() == "all" and not column.this.args.get("quoted"):
            raise _refused("ORDER BY ALL is not allowed", "name the columns to order by")


def _check_distinct(node: exp.Expr) -> None:
    if node.args.get("on"):
        raise _refused("DISTINCT ON is not allowed", "number the rows with row_number() in a subquery and keep row 1")


def _check_join(node: exp.Expr) -> None:
    method, kind, side = (str(node.args.get(part) or "").upper() for part in ("method", "kind", "side"))
    if method or kind not in ("", "INNER", "OUTER", "CROSS") or side not in ("", "LEFT", "RIGHT", "FULL"):
        raise _refused(f"{' '.join(filter(None, (method, side, kind)))} JOIN is not allowed", "write JOIN ... ON")


def _check_set_operation(node: exp.Expr) -> None:
    if node.args.get("by_name"):
        raise _refused("UNION BY NAME is not allowed", "list the columns in the same order on both sides")


def _check_with(node: exp.Expr) -> None:
    if node.args.get("recursive"):
        raise _refused("WITH RECURSIVE is not allowed", "use a window function or sequence(a, b)")


def _check_cte(node: exp.Expr) -> None:
    if node.args.get("materialized") is not None:
        raise _refused("MATERIALIZED is not allowed", "leave it out")


def _check_unnest(node: exp.Expr) -> None:
    if not isinstance(node.parent, (exp.From, exp.Join)):
        raise _refused("UNNEST outside FROM is not allowed", "write CROSS JOIN UNNEST(x) AS t (column)")
    if len(node.expressions) > 1:
        raise _refused("UNNEST of several arrays is not allowed", "use one UNNEST for each")


def _check_bracket(node: exp.Expr) -> None:
    if not node.args.get("safe"):
        raise _refused("x[i] fails on Athena where it is NULL here", "write element_at(x, i)")


def _check_any(node: exp.Expr) -> None:
    if not isinstance(node.this, exp.Query):
        raise _refused("ANY of an array is not allowed", "write contains(array, x)")


def _check_column(node: exp.Expr) -> None:
    if node.args.get("db"):
        raise _refused(f"{_shown(node)} has too many parts", "give the table an alias and write alias.column")


def _check_window_spec(node: exp.Expr) -> None:
    if node.args.get("exclude"):
        raise _refused("EXCLUDE in a window frame is not allowed", "leave it out")


def _check_limit(node: exp.Expr) -> None:
    if not (isinstance(node.expression, exp.Literal) and node.expression.is_int):
        raise _refused("LIMIT and OFFSET take a whole number", "write the number itself")


def _check_cast(node: exp.Expr) -> None:
    to = node.args["to"]
    written_as_literal = isinstance(node.this, exp.Literal)
    if to.this not in _TYPES:
        instead = {exp.DType.TEXT: "write VARCHAR", exp.DType.TIMESTAMPTZ: "write TIMESTAMP"}.get(to.this, "")
        raise _refused(f"The type {to.sql('athena').upper()} is not allowed in a CAST", instead)
    if to.expressions and to.this is not exp.DType.DECIMAL and not (written_as_literal and to.this in _TEMPORAL_TYPES):
        raise _refused(
            f"The type {to.sql('athena')} is not allowed in a CAST", f"write {to.this.value} without a length"
        )


_TEMPORAL_TYPES = (exp.DType.TIMESTAMP, exp.DType.DATE)

_CHECKS: dict[type[exp.Expr], Callable[[exp.Expr], None]] = {
    exp.Select: _check_select,
    exp.Star: _check_star,
    exp.Group: _check_group,
    exp.Order: _check_order,
    exp.Distinct: _check_distinct,
    exp.Join: _check_join,
    exp.Union: _check_set_operation,
    exp.Intersect: _check_set_operation,
    exp.Except: _check_set_operation,
    exp.With: _check_with,
    exp.CTE: _check_cte,
    exp.Unnest: _check_unnest,
    exp.Bracket: _check_bracket,
    exp.Any: _check_any,
    exp.Column: _check_column,
    exp.WindowSpec: _check_window_spec,
    exp.Limit: _check_limit,
    exp.Offset: _check_limit,
    exp.Cast: _check_cast,
    exp.TryCast: _check_cast,
}


def _check_table(node: exp.Table, quoted: set[str]) -> None:
    if isinstance(node.this, exp.Func):
        name = node.this.name if isinstance(node.this, exp.Anonymous) else node.this.sql_name()
        raise _refused(f"The table function {name.lower()}() is not allowed", "read a table or view of the catalog")
    if node.args.get("catalog"):
        raise _refused(f"{_shown(node)} has too many parts", "write database.table")
    if any(
        node.args.get(part) for part in ("pivots", "sample", "version", "when", "ordinality", "changes", "rows_from")
    ):
        raise _refused(f"{_shown(node)} is more than a table and its alias", "filter its rows in WHERE")
    name = node.this
    if name.args.get("quoted") and name.name not in quoted:
        raise _refused(f"A file or text cannot be read as a table ('{name.name}')", "name a table or view")
    if node.alias.upper() == "POSITIONAL":
        raise _refused("POSITIONAL JOIN is not allowed", "join on a column, such as one made with row_number()")


def table_references(expression: exp.Expr) -> list[tuple[str | None, str]]:
    """(database, table) of every table a parsed statement reads, in order, each once; names of WITH are left out."""
    found: dict[tuple[str | None, str], None] = {}
    for table in expression.find_all(exp.Table, bfs=False):
        if table.db or table.name.lower() not in _visible_ctes(table):
            found.setdefault((table.db.lower() or None, table.name.lower()))
    return list(found)


def _visible_ctes(node: exp.Expr) -> dict[str, exp.CTE]:
    """The WITH queries that can be named at `node`: those of the queries around it, written before it."""
    visible: dict[str, exp.CTE] = {}
    inside: exp.Expr = node
    parent = node.parent
    while parent is not None:
        with_ = parent if isinstance(parent, exp.With) else parent.args.get("with_")
        if isinstance(with_, exp.With) and with_ is not inside:
            for cte in with_.expressions:
                if cte is inside:
                    break
                visible.setdefault(cte.alias.lower(), cte)
        inside, parent = parent, parent.parent
    return visible


# --- types -----------------------------------------------------------------------------------------------------------

# What a repair has to know of a value: boolean, integer, decimal, double, varchar, date, timestamp, interval, null;
# `instant` is a timestamp with time zone shown in UTC, `zoned` one shown in a zone of its own; `varchar[]` an array.
# None is unknown.
Kind = str | None
Columns = dict[str, Kind]

_NUMBERS = frozenset(("integer", "decimal", "double"))
_TEMPORAL = frozenset(("date", "timestamp", "instant", "zoned"))

_KIND_OF_DUCKDB = {"HUGEINT": "integer", "FLOAT": "double", "TIMESTAMP_S": "timestamp", "TIMESTAMP_MS": "timestamp"}


@lru_cache(maxsize=256)  # the same few types, asked for every column of every statement
def _kind_of_type(name: str) -> Kind:
    """The kind of a column's type, named as Athena or DuckDB does."""
    if name.endswith("[]"):
        inner = _kind_of_type(name[:-2])
        return f"{inner}[]" if inner else None
    if name == "MAP(VARCHAR, VARCHAR)":
        return "varchar{}"
    base = name.upper().split("(")[0].strip()
    if base.startswith("TIMESTAMP") and "ZONE" in name.upper():
        return "instant"
    if base in _KIND_OF_DUCKDB:
        return _KIND_OF_DUCKDB[base]
    try:
        return _TYPES.get(exp.DataType.build(base, dialect="athena").this)
    except SqlglotError:
        return None


def _common(kinds: Iterable[Kind]) -> Kind:
    """The kind that values of these kinds have together."""
    found = set(kinds) - {"null"}
    if not found:
        return "null"
    if len(found) == 1:
        return found.pop()
    if found <= _NUMBERS:
        return "double" if "double" in found else "decimal"
    return "timestamp" if found == {"date", "timestamp"} else None


_INTEGER = (
    exp.Count, exp.CountIf, exp.ApproxDistinct, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Ntile, exp.Length,
    exp.StrPosition, exp.ArraySize, exp.Grouping, exp.DateDiff, exp.Extract, exp.Year, exp.Quarter, exp.Month, exp.Week,
    exp.WeekOfYear, exp.Day, exp.DayOfMonth, exp.DayOfWeekIso, exp.DayOfYear, exp.Hour, exp.Minute, exp.Second,
)  # fmt: skip
_DOUBLE = (
    exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop, exp.Corr, exp.CovarPop,
    exp.CovarSamp, exp.RegrSlope, exp.RegrIntercept, exp.Sqrt, exp.Ln, exp.Exp, exp.Log, exp.Pow, exp.Pi,
    exp.TimeToUnix, exp.PercentRank, exp.CumeDist,
)  # fmt: skip
_BOOLEAN = (
    exp.Predicate, exp.Connector, exp.Boolean, exp.Not, exp.Exists, exp.IsNan, exp.IsInf, exp.RegexpLike,
    exp.StartsWith, exp.ArrayContains, exp.LogicalAnd, exp.LogicalOr, exp.Any,
)  # fmt: skip
_VARCHAR = (
    exp.Concat, exp.DPipe, exp.Lower, exp.Upper, exp.Trim, exp.Pad, exp.Replace, exp.RegexpExtract, exp.RegexpReplace,
    exp.Reverse, exp.SplitPart, exp.Substring, exp.TimeToStr,
)  # fmt: skip
_AS_FIRST = (
    exp.Paren, exp.Neg, exp.Abs, exp.Sign, exp.Round, exp.Floor, exp.Ceil, exp.Max, exp.Min, exp.Sum, exp.ArgMax,
    exp.ArgMin, exp.ApproxQuantile, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Nullif, exp.Try,
    exp.Window, exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.Alias, exp.Ordered, exp.Order, exp.Distinct,
    exp.DateAdd, exp.TimestampTrunc, exp.DateTrunc,
)  # fmt: skip
_NAMED: dict[str, Kind] = {
    "infinity": "double",
    "nan": "double",
    "is_finite": "boolean",
    "is_infinite": "boolean",
    "with_timezone": "zoned",
    "at_timezone": "zoned",
    "dow": "integer",
    "doy": "integer",
    "covar_pop": "double",
    "covar_samp": "double",
    "grouping": "integer",
}
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)


class _Scope:
    """The tables an expression can name, those of the queries around it, and the WITH queries."""

    def __init__(self, ctes: Mapping[str, Columns | None], outer: _Scope | None = None) -> None:
        self.sources: dict[str, Columns | None] = {}
        self.ctes = dict(ctes)
        self.outer = outer
        self.aliases: Columns = {}

    def kind(self, column: exp.Column, *, aliases: bool) -> Kind:
        name, table = column.name.lower(), column.table.lower()
        if aliases and not table and name in self.aliases:
            return self.aliases[name]
        known: list[str] = []
        scope: _Scope | None = self
        while scope is not None:
            for alias, columns in scope.sources.items():
                if table and alias != table:
                    continue
                if columns is None:
                    return None
                if name in columns:
                    return columns[name]
                known.extend(columns)
            scope = scope.outer
        if name in self.aliases and not table:
            raise _refused(
                f"The alias {name} is used in the SELECT that defines it, outside ORDER BY",
                "Athena knows it only in an outer SELECT",
            )
        if not known:
            raise _refused(f"There is no table {table or 'in FROM'} for the column {column.sql('athena')}")
        raise QueryError(f"There is no column {column.sql('athena')}; there are {', '.join(dict.fromkeys(known))}.")


class _Types:
    """The kind of every expression of a statement, found from the types of the tables' columns."""

    def __init__(self, schema: Schema, default_database: str) -> None:
        self._tables: dict[tuple[str, str], Columns] = {
            (database.lower(), table.lower()): {name.lower(): _kind_of_type(kind) for name, kind in columns.items()}
            for (database, table), columns in schema.items()
        }
        self._default_database = default_database
        self._kinds: dict[int, Kind] = {}

    def of(self, node: exp.Expr) -> Kind:
        return self._kinds.get(id(node))

    def replaced(self, old: exp.Expr, new: exp.Expr) -> None:
        self._kinds[id(new)] = self._kinds.get(id(old))

    def query(self, node: exp.Expr, outer: _Scope | None = None) -> Columns | None:
        """The columns of a query, or None where they are unknown."""
        scope = _Scope(outer.ctes if outer else {}, outer)
        with_ = node.args.get("with_")
        for cte in with_.expressions if with_ else ():
            columns = self.query(cte.this, scope)
            scope.ctes[cte.alias.lower()] = _renamed(columns, cte.args.get("alias"))
        if isinstance(node, exp.Subquery):
            columns = self.query(node.this, scope)
        elif isinstance(node, exp.SetOperation):
            columns = self._set_operation(node, scope)
        elif isinstance(node, exp.Values):
            columns = self._values(node, scope)
        else:
            columns = self._select(node, scope)
        if not isinstance(node, exp.Select):
            scope.sources = {"": columns}
            self._parts(node, ("order", "limit", "offset"), scope)
        self._kinds[id(node)] = next(iter(columns.values()), None) if columns else None
        return columns

    def _set_operation(self, node: exp.SetOperation, scope: _Scope) -> Columns | None:
        left, right = self.query(node.left, scope), self.query(node.right, scope)
        if left is None or right is None or len(left) != len(right):
            return left
        return {name: _common((a, b)) for (name, a), b in zip(left.items(), right.values(), strict=True)}

    def _values(self, node: exp.Values, scope: _Scope) -> Columns:
        rows = [
            [self._expression(value, scope) for value in (row.expressions if isinstance(row, exp.Tuple) else [row])]
            for row in node.expressions
        ]
        return {f"_col{n}": _common(kinds) for n, kinds in enumerate(zip(*rows, strict=False))}

    def _select(self, node: exp.Expr, scope: _Scope) -> Columns | None:
        from_ = node.args.get("from_")
        for source in [from_, *(node.args.get("joins") or ())]:
            if source is not None:
                self._source(source.this, scope)
                self._parts(source, ("on",), scope)
        columns: Columns | None = {}
        for projection in node.expressions:
            if columns is not None and projection.alias and not isinstance(projection, exp.Column):
                scope.aliases[projection.alias.lower()] = None
        for n, projection in enumerate(node.expressions):
            kind = self._expression(projection, scope)
            if projection.is_star and not isinstance(projection, exp.Count):
                star = _star(projection, scope)
                columns = None if star is None or columns is None else {**columns, **star}
            elif columns is not None:
                columns[(projection.alias_or_name or f"_col{n}").lower()] = kind
            if projection.alias:
                scope.aliases[projection.alias.lower()] = kind
        self._parts(node, ("where", "group", "having", "windows", "limit", "offset", "distinct"), scope)
        self._parts(node, ("order",), scope, aliases=True)
        return columns

    def _parts(self, node: exp.Expr, parts: Sequence[str], scope: _Scope, *, aliases: bool = False) -> None:
        for part in parts:
            value = node.args.get(part)
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, exp.Expr):
                    self._expression(child, scope, aliases=aliases)

    def _source(self, node: exp.Expr, scope: _Scope) -> None:
        alias = node.args.get("alias")
        columns: Columns | None
        if isinstance(node, exp.Table):
            name = node.name.lower()
            if not node.db and name in scope.ctes:
                columns = scope.ctes[name]
            else:
                columns = self._tables.get((node.db.lower() or self._default_database, name))
        elif isinstance(node, exp.Unnest):
            inner = self._expression(node.expressions[0], scope)
            columns = {"_col0": inner[:-2] if inner and inner.endswith("[]") else None}
            columns = _renamed(columns, alias) or {}
            alias = None
            if isinstance(node.args.get("offset"), exp.Identifier):
                columns[node.args["offset"].name.lower()] = "integer"
        elif isinstance(node, exp.Paren) or (isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table)):
            self._source(node.this, scope)
            return
        else:
            columns = self.query(node, scope)
        scope.sources[node.alias_or_name.lower() or f"_{len(scope.sources)}"] = _renamed(columns, alias)
        for join in node.args.get("joins") or ():
            self._source(join.this, scope)
            self._parts(join, ("on",), scope)

    def _expression(self, node: exp.Expr, scope: _Scope, *, aliases: bool = False) -> Kind:
        if isinstance(node, (exp.Query, exp.Subquery)):
            self.query(node, scope)
            return self.of(node)
        children = [self._expression(child, scope, aliases=aliases) for child in node.iter_expressions()]
        if isinstance(node, exp.Column):
            kind = None if node.is_star else scope.kind(node, aliases=aliases)
        else:
            kind = self._combined(node, children)
        self._kinds[id(node)] = kind
        return kind

    def _combined(self, node: exp.Expr, children: Sequence[Kind]) -> Kind:
        if isinstance(node, exp.Literal):
            if node.is_string:
                return "varchar"
            return "double" if "e" in node.name.lower() else "decimal" if "." in node.name else "integer"
        if isinstance(node, exp.Null):
            return "null"
        if isinstance(node, (exp.Cast, exp.TryCast)):
            return _TYPES.get(node.to.this)
        if isinstance(node, exp.Interval):
            return "interval"
        if isinstance(node, _ARITHMETIC):
            return _arithmetic(node, self.of(node.left), self.of(node.right))
        if isinstance(node, (exp.Greatest, exp.Least, exp.Coalesce)):
            return _common(children)
        if isinstance(node, (exp.Case, exp.If)):
            branches = [branch.args["true"] for branch in node.args.get("ifs") or [node]]
            otherwise = node.args.get("default") or node.args.get("false")
            return _common([*(self.of(branch) for branch in branches), self.of(otherwise) if otherwise else "null"])
        if isinstance(node, (exp.Array, exp.GenerateSeries, exp.ArrayAgg)):
            inner = _common(children[:2] if isinstance(node, exp.GenerateSeries) else children)
            return f"{inner}[]" if inner and inner != "null" else None
        if isinstance(node, exp.Split):
            return "varchar[]"
        if isinstance(node, exp.Bracket):
            of = self.of(node.this)
            return of[:-2] if of and of.endswith(("[]", "{}")) else None
        if isinstance(node, (exp.Date, exp.CurrentDate)):
            return "date"
        if isinstance(node, (exp.CurrentTimestamp, exp.UnixToTime)):
            return "instant"
        if isinstance(node, exp.AtTimeZone):
            return "zoned"
        if isinstance(node, exp.Anonymous):
            return _NAMED.get(node.name.lower())
        if isinstance(node, _AS_FIRST):
            return self.of(node.this) if isinstance(node.this, exp.Expr) else (children[0] if children else None)
        for kinds, kind in ((_INTEGER, "integer"), (_DOUBLE, "double"), (_VARCHAR, "varchar"), (_BOOLEAN, "boolean")):
            if isinstance(node, kinds):
                return kind
        return None


def _renamed(columns: Columns | None, alias: exp.Expr | None) -> Columns | None:
    """The columns under the names of `AS t (a, b)`, where it names them."""
    names = [name.name.lower() for name in alias.args.get("columns") or ()] if alias else []
    if columns is None or not names:
        return columns
    return dict(zip(names, columns.values(), strict=False))


def _star(node: exp.Expr, scope: _Scope) -> Columns | None:
    wanted = node.table.lower() if isinstance(node, exp.Column) else ""
    found: Columns = {}
    for alias, columns in scope.sources.items():
        if wanted and alias != wanted:
            continue
        if columns is None:
            return None
        found.update(columns)
    return found


def _arithmetic(node: exp.Expr, left: Kind, right: Kind) -> Kind:
    kinds = {left, right}
    if "interval" in kinds:
        return next(iter(kinds - {"interval"}), "interval")
    return "double" if "double" in kinds else _common(kinds)


# --- DuckDB ----------------------------------------------------------------------------------------------------------

_UNITS = frozenset(["second", "minute", "hour", "day", "week", "month", "quarter", "year"])
_DAY_UNITS = frozenset(["day", "week", "month", "quarter", "year"])

_DATE_PARTS: dict[type[exp.Expr], str] = {
    exp.Year: "year",
    exp.Quarter: "quarter",
    exp.Month: "month",
    exp.Week: "week",
    exp.WeekOfYear: "week",
    exp.Day: "day",
    exp.DayOfMonth: "day",
    exp.DayOfWeekIso: "isodow",
    exp.DayOfYear: "dayofyear",
    exp.Hour: "hour",
    exp.Minute: "minute",
    exp.Second: "second",
}
_EXTRACTED = {
    **{part: part for part in ["year", "quarter", "month", "week", "day", "hour", "minute", "second"]},
    "day_of_month": "day",
    "dow": "isodow",
    "dayofweek": "isodow",
    "day_of_week": "isodow",
    "doy": "dayofyear",
    "dayofyear": "dayofyear",
    "day_of_year": "dayofyear",
}
_READS_LOCAL_TIME = (*_DATE_PARTS, exp.Extract, exp.Date, exp.Cast, exp.TryCast, exp.TimeToUnix, exp.TimeToStr)

# What Trino trims: Unicode white space except the no-break spaces.
_WHITE_SPACE = "".join(map(chr, (*range(9, 14), *range(28, 33), 0x1680, *range(0x2000, 0x2007), *range(0x2008, 0x200B),
                                 0x2028, 0x2029, 0x205F, 0x3000)))  # fmt: skip

# The texts that Athena's CAST reads; DuckDB's reads more.
_READABLE = {
    "integer": r"[+-]?[0-9]+",
    "double": r"\s*[+-]?(NaN|Infinity|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)\s*",
    "decimal": r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)\s*",
    "date": r"\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}\s*",
    "timestamp": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}( [0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]+)?)?)?\s*",
    "boolean": r"(?i)(t|f|true|false|0|1)",
}


class _Generator(DuckDBGenerator):
    # Written out, so that no setting of the connection decides where NULL goes.
    TRANSFORMS: ClassVar = {
        **DuckDBGenerator.TRANSFORMS,
        exp.Ordered: lambda self, node: (
            f"{self.sql(node, 'this')} {'DESC' if node.args.get('desc') else 'ASC'} "
            f"NULLS {'FIRST' if node.args.get('nulls_first') else 'LAST'}"
        ),
    }


def to_duckdb(query: exp.Query | str, schema: Schema | None = None, default_database: str = PROD_DATABASE) -> str:
    """DuckDB's SQL for a query of Athena's, given as text or as `parse` returned it (which is left as it was).

    `schema` has the column types, in Athena's or DuckDB's names, of the tables of the query, by (database, table);
    a table without a database is looked up in `default_database`. Where the meaning hangs on a type that is not known,
    the query is refused. Raises SqlNotAllowedError, or QueryError for a column that does not exist.

    What it means stays Athena's as long as the connection's TimeZone is UTC.
    """
    expression = (parse(query) if isinstance(query, str) else query).copy()
    types = _Types(schema or {}, default_database)
    types.query(expression)
    nodes = list(expression.walk(bfs=False))
    for node in nodes:
        _check_kinds(node, types)
    wide = [node for node in nodes if _sums_integers(node, types)]
    for node in reversed(nodes):
        repair = _REPAIRS.get(type(node))
        new = repair(node, types) if repair else None
        if new is not None:
            types.replaced(node, new)
            node.replace(new)
    for node in wide:
        _narrow(node)
    return _Generator(dialect="duckdb").generate(expression, copy=False)


def _sums_integers(node: exp.Expr, types: _Types) -> bool:
    return isinstance(node, exp.Sum) and types.of(node) == "integer"


def _narrow(node: exp.Expr) -> None:
    """BIGINT around a sum that DuckDB makes a HUGEINT, with its FILTER and OVER."""
    while isinstance(node.parent, (exp.Filter, exp.Window)) and node.arg_key == "this":
        node = node.parent
    cast = exp.Cast(to=exp.DataType(this=exp.DType.BIGINT))
    node.replace(cast)
    cast.set("this", node)


def _check_kinds(node: exp.Expr, types: _Types) -> None:
    """Refuse what DuckDB converts silently and Athena does not."""
    pairs: list[tuple[exp.Expr, exp.Expr]] = []
    if isinstance(node, _COMPARISONS):
        pairs = [(node.left, node.right)]
    elif isinstance(node, exp.Between):
        pairs = [(node.this, node.args["low"]), (node.this, node.args["high"])]
    elif isinstance(node, exp.In):
        query = node.args.get("query")
        pairs = [(node.this, value) for value in (*node.expressions, *([query] if query else []))]
    for left, right in pairs:
        _check_comparable(left, right, types)
    if isinstance(node, _ARITHMETIC):
        for side in (node.left, node.right):
            if types.of(side) in ("varchar", "boolean"):
                raise _refused(f"{_shown(side)} is not a number", "use CAST(x AS DOUBLE)")
    if isinstance(node, (exp.DPipe, exp.Concat)):
        for side in node.iter_expressions():
            if types.of(side) not in ("varchar", "null", None):
                raise _refused(f"{_shown(side)} is not text", "use CAST(x AS VARCHAR)")
    if isinstance(node, exp.Avg) and types.of(node.this) == "decimal":
        raise _refused(f"{_shown(node)} rounds to the DECIMAL's scale on Athena", "cast it to DOUBLE")
    if types.of(node) == "zoned" and not isinstance(node, exp.Paren):
        _check_zoned(node, types)


def _check_comparable(left: exp.Expr, right: exp.Expr, types: _Types) -> None:
    kinds = types.of(left), types.of(right)
    if None in kinds or "null" in kinds or _family(kinds[0]) == _family(kinds[1]):
        return
    for text, other, kind in ((right, left, kinds[0]), (left, right, kinds[1])):
        if isinstance(text, exp.Literal) and text.is_string and kind in ("date", "timestamp"):
            raise _refused(
                f"{_shown(other)} is a {kind.upper()} and Athena does not compare it with text",
                f"write {kind.upper()} {text.sql()}",
            )
    raise _refused(f"{_shown(left)} ({kinds[0]}) and {_shown(right)} ({kinds[1]}) cannot be compared", "cast one side")


def _family(kind: Kind) -> Kind:
    return "number" if kind in _NUMBERS else "time" if kind in _TEMPORAL else kind


def _check_zoned(node: exp.Expr, types: _Types) -> None:
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    named = isinstance(parent, exp.Anonymous) and parent.name.lower() == "at_timezone"
    if not named and not isinstance(parent, (*_READS_LOCAL_TIME, exp.AtTimeZone)):
        raise _refused(
            f"{_shown(node)} has a time zone of its own that DuckDB would lose", "CAST it to DATE or TIMESTAMP at once"
        )


# Repairs: each gives the node to put in place, or None to leave it. Children are repaired before their parents.


def _call(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _cast(node: exp.Expr, kind: exp.DType) -> exp.Cast:
    return exp.Cast(this=node.copy(), to=exp.DataType(this=kind))


def _text(value: str) -> exp.Literal:
    return exp.Literal.string(value)


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)


def _case(condition: exp.Expr, then: exp.Expr, otherwise: exp.Expr | None = None) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=condition, true=then)], default=otherwise)


def _wrapped(node: exp.Expr) -> exp.Expr:
    """A copy that can be an operand."""
    simple = (exp.Column, exp.Literal, exp.Paren, exp.Func)
    operator = isinstance(node, (exp.Connector, exp.Binary))
    return node.copy() if isinstance(node, simple) and not operator else exp.Paren(this=node.copy())


def _is_nonzero_literal(node: exp.Expr) -> bool:
    node = node.unnest()
    node = node.this if isinstance(node, exp.Neg) else node
    return isinstance(node, exp.Literal) and not node.is_string and float(node.name) != 0


def _failure(node: exp.Expr, message: str, to: exp.DataType) -> exp.Expr:
    """An expression that fails where `node` stands; DuckDB's TRY does not take error()."""
    if node.find_ancestor(exp.Try):
        return exp.Cast(this=_text(message), to=to.copy())
    return _call("error", _text(message))


def _guarded(node: exp.Binary, operation: exp.Expr) -> exp.Expr:
    """Athena fails on a whole number divided by zero."""
    if _is_nonzero_literal(node.right):
        return operation
    zero = exp.EQ(this=_wrapped(node.right), expression=_number(0))
    failure = _failure(node, "Division by zero", exp.DataType(this=exp.DType.INT))
    return exp.Paren(this=_case(zero, failure, operation))


def _divide(node: exp.Binary, types: _Types) -> exp.Expr | None:
    left, right = types.of(node.left), types.of(node.right)
    if "double" in (left, right):
        return exp.Div(this=node.left.copy(), expression=node.right.copy(), typed=False, safe=False)
    if left == right == "integer":
        return _guarded(node, _call("divide", node.left, node.right))
    raise _refused(
        f"{_shown(node)} is cut to a whole number or rounded on Athena when neither side is a DOUBLE",
        "cast one side to DOUBLE",
    )


def _modulo(node: exp.Binary, types: _Types) -> exp.Expr | None:
    left, right = types.of(node.left), types.of(node.right)
    if "double" in (left, right) or _is_nonzero_literal(node.right):
        return None
    if left == right == "integer":
        return _guarded(node, _call("mod", node.left, node.right))
    raise _refused(f"{_shown(node)} has no known type", "cast both sides to BIGINT or DOUBLE")


def _add(node: exp.Binary, types: _Types) -> exp.Expr | None:
    kinds = [types.of(node.left), types.of(node.right)]
    if "interval" in kinds:
        other = kinds[1] if kinds[0] == "interval" else kinds[0]
        interval = node.left if kinds[0] == "interval" else node.right
        if other == "date":
            units = {str(found.unit).lower() for found in interval.find_all(exp.Interval)}
            if not units <= _DAY_UNITS:
                raise _refused(f"{_shown(node)} adds hours to a DATE", "cast it to TIMESTAMP")
            return _cast(node, exp.DType.DATE)
        if other is None:
            raise _refused(f"{_shown(node)} has no known type", "CAST the date to DATE or TIMESTAMP")
        return None
    if kinds[0] in _TEMPORAL or kinds[1] in _TEMPORAL:
        instead = "use date_diff('day', a, b)" if isinstance(node, exp.Sub) else "use date_add('day', n, x)"
        raise _refused(f"{_shown(node)} is not the same number on Athena", instead)
    return None


def _unit(node: exp.Expr, allowed: frozenset[str] = _UNITS) -> str:
    unit = node.args["unit"].name.lower() if node.args.get("unit") else ""
    if unit not in allowed:
        raise _refused(
            f"The unit '{unit}' in {_shown(node)} is not allowed", f"use one of {', '.join(sorted(allowed))}"
        )
    return unit


def _date_add(node: exp.Expr, types: _Types) -> exp.Expr | None:
    kind = types.of(node.this)
    if kind not in ("date", "timestamp", "instant"):
        raise _refused(f"The third argument of {_shown(node)} has no known type", "CAST it to DATE or TIMESTAMP")
    unit = _unit(node, _DAY_UNITS if kind == "date" else _UNITS)
    step = {"week": (7, "day"), "quarter": (3, "month")}.get(unit, (1, unit))
    interval = exp.Interval(this=_text(str(step[0])), unit=exp.var(step[1].upper()))
    amount = exp.Mul(this=_wrapped(node.expression), expression=interval)
    added = exp.Paren(this=exp.Add(this=_wrapped(node.this), expression=amount))
    return _cast(added, exp.DType.DATE) if kind == "date" else added


def _date_diff(node: exp.Expr, types: _Types) -> exp.Expr | None:
    unit = _unit(node)
    for side in (node.this, node.expression):
        if types.of(side) == "varchar":
            raise _refused(f"{_shown(side)} is text", "CAST it to DATE or TIMESTAMP")
    return _call("date_sub", _text(unit), node.expression, node.this)


def _date_trunc(node: exp.Expr, types: _Types) -> exp.Expr | None:
    kind = types.of(node.this)
    if kind not in ("date", "timestamp", "instant"):
        raise _refused(f"The second argument of {_shown(node)} has no known type", "CAST it to DATE or TIMESTAMP")
    unit = _unit(node, _DAY_UNITS if kind == "date" else _UNITS)
    truncated = _call("date_trunc", _text(unit), node.this)
    return _cast(truncated, exp.DType.DATE) if kind == "date" else truncated


def _zone_parts(node: exp.Expr) -> tuple[str, exp.Expr, exp.Expr] | None:
    if isinstance(node, exp.AtTimeZone):
        return "at_timezone", node.this, node.args["zone"]
    if isinstance(node, exp.Anonymous) and node.name.lower() in ("at_timezone", "with_timezone"):
        if len(node.expressions) != 2:
            raise _refused(f"{node.name.lower()}() takes two arguments", "a time and the name of a zone")
        return node.name.lower(), node.expressions[0], node.expressions[1]
    return None


def _instant(node: exp.Expr, types: _Types) -> exp.Expr:
    """The point in time of a value with or without a zone; without one it is UTC, as in Athena's sessions."""
    node = node.unnest()
    parts = _zone_parts(node)
    if parts is None:
        return node.copy() if types.of(node) == "instant" else _call("timezone", _text("UTC"), node)
    function, value, zone = parts
    if function == "at_timezone":
        return _instant(value, types)
    return _call("timezone", zone, value)


def _local_time(node: exp.Expr, types: _Types) -> exp.Expr:
    """What the clock of a value's own zone shows, as a TIMESTAMP without zone."""
    parts = _zone_parts(node.unnest())
    if parts is None:
        return _call("timezone", _text("UTC"), node) if types.of(node) == "instant" else node.copy()
    function, value, zone = parts
    if function == "with_timezone":
        return value.copy()
    return _call("timezone", zone, _instant(value, types))


def _date_part(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _part_of(_DATE_PARTS[type(node)], node.this, types)


def _part_of(part: str, value: exp.Expr, types: _Types) -> exp.Expr:
    if types.of(value) == "varchar":
        raise _refused(f"{_shown(value)} is text", "CAST it to DATE or TIMESTAMP")
    return _call(part, _local_time(value, types))


def _extract(node: exp.Expr, types: _Types) -> exp.Expr | None:
    part = _EXTRACTED.get(node.name.lower())
    if part is None:
        raise _refused(f"extract({node.name} ...) is not allowed", f"use one of {', '.join(_EXTRACTED)}")
    return _part_of(part, node.expression, types)


def _to_unixtime(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _call("epoch", _instant(node.this, types))


def _date(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _converted(node, exp.DataType(this=exp.DType.DATE), types, strict=True)


def _convert(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _converted(node, node.args["to"], types, strict=not isinstance(node, exp.TryCast))


def _converted(node: exp.Expr, to: exp.DataType, types: _Types, *, strict: bool) -> exp.Expr:
    value = node.this
    kind, target = types.of(value), _TYPES[to.this]
    if to.this is exp.DType.TIMESTAMP:
        to = exp.DataType(this=exp.DType.TIMESTAMP)
    make = exp.Cast if strict else exp.TryCast
    if kind in ("zoned", "instant"):
        if target not in ("date", "timestamp"):
            raise _refused(f"{_shown(value)} cannot be cast to {to.sql('athena')} alike", "CAST it to TIMESTAMP first")
        return make(this=_local_time(value, types), to=to)
    if target == "varchar" and kind not in ("varchar", "integer", "boolean", "date", "null"):
        raise _refused(
            f"{_shown(value)} as VARCHAR is not written the same by Athena",
            "use date_format(x, '%Y-%m-%d %H:%i:%s') for a time, or leave a number a number",
        )
    if kind is None and target in ("integer", "boolean"):
        raise _refused(f"The type of {_shown(value)} is not known", "CAST it to DOUBLE and use floor or round")
    if target == "integer" and kind in ("double", "decimal"):
        return make(this=_call("round", value), to=to)
    if target in _READABLE and kind in ("varchar", None):
        return _read(node, target, make(this=value.copy(), to=to), strict=strict)
    return make(this=value.copy(), to=to)


def _read(node: exp.Expr, target: str, cast: exp.Cast, *, strict: bool) -> exp.Expr:
    """A cast of text that reads no more than Athena's does."""
    value, pattern = node.this, _READABLE[target]
    if isinstance(value, exp.Literal) and value.is_string:
        if not re.fullmatch(pattern, value.name) and strict:
            raise _refused(f"{value.sql()} is not a {target.upper()} as Athena reads it", _EXAMPLES.get(target, ""))
        return cast if re.fullmatch(pattern, value.name) else exp.Null()
    matches = _call("regexp_full_match", _cast(value, exp.DType.VARCHAR), _text(pattern))
    if not strict:
        return _case(matches, cast)
    failure = _failure(node, f"Cannot cast the text to {target.upper()}", cast.to)
    return exp.Paren(this=_case(exp.Not(this=matches), failure, cast))


_EXAMPLES = {"date": "write DATE '2024-01-31'", "timestamp": "write TIMESTAMP '2024-01-31 16:00:00'"}


def _named(node: exp.Expr, types: _Types) -> exp.Expr | None:
    """The functions that sqlglot does not know."""
    name = node.name.lower()
    if name in ("infinity", "nan"):
        return _cast(_text({"infinity": "Infinity", "nan": "NaN"}[name]), exp.DType.DOUBLE)
    if name in ("dow", "doy"):
        return _part_of({"dow": "isodow", "doy": "dayofyear"}[name], node.expressions[0], types)
    return {
        "is_finite": lambda: _call("isfinite", *node.expressions),
        "is_infinite": lambda: _call("isinf", *node.expressions),
    }.get(name, lambda: None)()


def _strip(node: exp.Expr, types: _Types) -> exp.Expr | None:
    if node.args.get("expression") is not None:
        return None
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
    # DuckDB trims a set of characters ten times slower than it finds that there is nothing to trim.
    ends = _call("regexp_matches", node.this, _text(f"^[{_WHITE_SPACE}]|[{_WHITE_SPACE}]$"))
    return exp.Paren(this=_case(ends, _call(name, node.this, _text(_WHITE_SPACE)), node.this.copy()))


def _substring(node: exp.Expr, types: _Types) -> exp.Expr | None:
    start = node.args["start"]
    plain = _call("substring", *filter(None, (node.this, start, node.args.get("length"))))
    if _is_nonzero_literal(start) and not isinstance(start, exp.Neg):
        return plain
    before = exp.LT(this=_wrapped(start), expression=exp.Neg(this=_call("length", node.this)))
    zero = exp.EQ(this=_wrapped(start), expression=_number(0))
    inside = exp.Paren(this=exp.Or(this=zero, expression=before))
    known = exp.Not(this=exp.Is(this=_wrapped(node.this), expression=exp.Null()))
    return exp.Paren(this=_case(exp.And(this=known, expression=inside), _text(""), plain))


def _split(node: exp.Expr, types: _Types) -> exp.Expr | None:
    if node.args.get("limit"):
        raise _refused("split() with a limit is not allowed", "use split(x, separator) or split_part")
    return _call("string_split", node.this, node.expression)


def _split_part(node: exp.Expr, types: _Types) -> exp.Expr | None:
    parts = _call("string_split", node.this, node.args["delimiter"])
    return _call("list_extract", parts, node.args["part_index"])


def _regexp_extract(node: exp.Expr, types: _Types) -> exp.Expr | None:
    group = node.args.get("group") or _number(0)
    found = _call("regexp_extract", node.this, node.expression, group)
    return _case(_call("regexp_matches", node.this, node.expression), found)


def _regexp_replace(node: exp.Expr, types: _Types) -> exp.Expr | None:
    new = node.args.get("replacement") or _text("")
    if not (isinstance(new, exp.Literal) and new.is_string) or "\\" in new.name:
        raise _refused(f"The replacement in {_shown(node)} is not allowed", "write it as text, with $1 for a group")
    replacement = re.sub(r"\$(\d)", r"\\\1", new.name)
    return _call("regexp_replace", node.this, node.expression, _text(replacement), _text("g"))


def _sequence(node: exp.Expr, types: _Types) -> exp.Expr | None:
    start, end, step = node.args["start"], node.args["end"], node.args.get("step")
    kind = types.of(node)
    if kind not in ("integer[]", "date[]"):
        raise _refused(f"{_shown(node)} is neither of whole numbers nor of dates", "cast both ends")
    up = exp.GTE(this=_wrapped(end), expression=_wrapped(start))
    if kind == "integer[]":
        return _call("generate_series", start, end, step or _case(up, _number(1), _number(-1)))
    days = [exp.Interval(this=_text(days), unit=exp.var("DAY")) for days in ("1", "-1")]
    times = [_cast(side, exp.DType.TIMESTAMP) for side in (start, end)]
    series = _call("generate_series", *times, step or _case(up, days[0], days[1]))
    return exp.Cast(this=series, to=exp.DataType.build("DATE[]", dialect="duckdb"))


def _extreme_by(name: str) -> Callable[..., exp.Expr | None]:
    def repair(node: exp.Expr, types: _Types) -> exp.Expr | None:
        if node.args.get("count"):
            raise _refused(f"{_shown(node)} with a count is not allowed", "number the rows with row_number()")
        return _call(name, node.this, node.expression)

    return repair


def _same_whole_number(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _wrapped(node.this) if types.of(node.this) == "integer" else None


def _sign(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _cast(node, exp.DType.DOUBLE) if types.of(node.this) == "double" else None


def _log(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _call("log10", node.expression)


def _percentile(node: exp.Expr, types: _Types) -> exp.Expr | None:
    quantile = node.args["quantile"]
    if node.args.get("weight") or node.args.get("accuracy") or not isinstance(quantile, exp.Literal):
        raise _refused(f"{_shown(node)} is not allowed", "use approx_percentile(x, 0.5) with a number")
    return None


def _date_format(node: exp.Expr, types: _Types) -> exp.Expr | None:
    form = node.args["format"]
    known = isinstance(form, exp.Literal) and set(re.findall(r"%.", form.name)) <= {f"%{c}" for c in "YmdHMSj%"}
    if not known or types.of(node.this) not in (*_TEMPORAL, None):
        raise _refused(f"{_shown(node)} is not written the same here", "use %Y %m %d %H %i %s %j on a date or time")
    return _call("strftime", _local_time(node.this, types), form)


def _today(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _cast(_call("timezone", _text("UTC"), _call("now")), exp.DType.DATE)


def _now(node: exp.Expr, types: _Types) -> exp.Expr | None:
    return _call("now")


def _from_unixtime(node: exp.Expr, types: _Types) -> exp.Expr | None:
    if len([value for value in node.args.values() if value]) > 1:
        raise _refused(f"{_shown(node)} is not allowed", "use at_timezone(from_unixtime(x), zone)")
    return _call("to_timestamp", node.this)


def _contains(node: exp.Expr, types: _Types) -> exp.Expr | None:
    if types.of(node.this) == "varchar":
        raise _refused("contains() takes an array", "use strpos(text, part) > 0")
    return None


def _count_if(node: exp.CountIf, _types: _Types) -> exp.Expr:
    """DuckDB's count_if is NULL where no condition is known; Athena's is 0."""
    return exp.Count(this=exp.Case(ifs=[exp.If(this=node.this, true=exp.Literal.number(1))]))


_REPAIRS: dict[type[exp.Expr], Callable[..., exp.Expr | None]] = {
    exp.Div: _divide,
    exp.Mod: _modulo,
    exp.Add: _add,
    exp.Sub: _add,
    exp.DateAdd: _date_add,
    exp.DateDiff: _date_diff,
    exp.TimestampTrunc: _date_trunc,
    exp.DateTrunc: _date_trunc,
    **dict.fromkeys(_DATE_PARTS, _date_part),
    exp.Extract: _extract,
    exp.TimeToUnix: _to_unixtime,
    exp.UnixToTime: _from_unixtime,
    exp.TimeToStr: _date_format,
    exp.CurrentDate: _today,
    exp.CurrentTimestamp: _now,
    exp.Date: _date,
    exp.Cast: _convert,
    exp.TryCast: _convert,
    exp.Anonymous: _named,
    exp.Trim: _strip,
    exp.Substring: _substring,
    exp.Split: _split,
    exp.SplitPart: _split_part,
    exp.RegexpExtract: _regexp_extract,
    exp.RegexpReplace: _regexp_replace,
    exp.GenerateSeries: _sequence,
    exp.ArgMax: _extreme_by("arg_max_null"),
    exp.ArgMin: _extreme_by("arg_min_null"),
    exp.Floor: _same_whole_number,
    exp.Ceil: _same_whole_number,
    exp.Sign: _sign,
    exp.Log: _log,
    exp.ApproxQuantile: _percentile,
    exp.ArrayContains: _contains,
    exp.CountIf: _count_if,
}
