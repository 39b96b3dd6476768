"""A small table of what a cache holds and does, for notebooks."""

import html


def _bytes(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


class Report:
    """Rows of a name and a text; printed as a text, or shown by a notebook as a table."""

    def __init__(self, cache):
        info, settings = cache.info(), cache._settings()
        asked = info["hits"] + info["misses"]
        limit = settings["size_limit"]
        store = cache.store().stats()
        self.rows = [
            ("directory", cache.directory),
            ("entries", f"{info['items']:,}"),
            ("size", _bytes(info["bytes"]) + (f" of {_bytes(limit)}" if limit is not None else "")),
            ("on disk", _bytes(store["segment_bytes"])),
            ("hits", f"{info['hits']:,} of {asked:,}" + (f" ({info['hits'] / asked:.0%})" if asked else "")),
            ("sets", f"{info['sets']:,}"),
            ("evicted", f"{info['evictions']:,}"),
            ("expired", f"{info['expirations']:,}"),
            ("policy", settings["eviction_policy"]),
        ]

    def __str__(self):
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in self.rows)

    __repr__ = __str__

    def _repr_html_(self):
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(str(text))}</td></tr>"
            for name, text in self.rows
        )
        return f"<table>{cells}</table>"
