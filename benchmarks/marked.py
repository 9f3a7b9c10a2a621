"""Pages whose tables a command writes: what it writes stands between two comments."""


def replaced(text: str, name: str, content: str) -> str:
    """Return a page with other content between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        ValueError: the page has not each comment once.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if (text.count(begin), text.count(end)) != (1, 1) or text.index(begin) > text.index(end):
        raise ValueError(f"the page has no place for {name!r}; allowed: {begin}, then {end}")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"
