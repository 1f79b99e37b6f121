"""Tables for people, JSON for programs."""

import json

_MIB = 1 << 20

# Per kind of run: heading, key of the row, how it is written. A key that no row has is left out.
TABLES = {
    "compare": [
        ("contender", "name", "{}"),
        ("CPU µs/req", "cpu_us", "{:.1f}"),
        ("× HAProxy", "cpu_to_haproxy", "{:.2f}"),
        ("× Envoy", "cpu_to_envoy", "{:.2f}"),
        ("req/s", "per_second", "{:.0f}"),
        ("p50 ms", "p50_ms", "{:.2f}"),
        ("p99 ms", "p99_ms", "{:.2f}"),
        ("added p99", "added_p99_ms", "{:.2f}"),
        ("steady CPU", "steady_cpu_us", "{:.1f}"),
        ("steady p50", "steady_p50_ms", "{:.2f}"),
        ("steady p99", "steady_p99_ms", "{:.2f}"),
        ("added", "added_steady_p99_ms", "{:.2f}"),
        ("idle MiB", "idle_rss_bytes", "MiB"),
        ("loaded MiB", "loaded_rss_bytes", "MiB"),
    ],
    "routes": [
        ("routes", "routes", "{}"),
        ("path", "path", "{}"),
        ("CPU µs/req", "cpu_us", "{:.1f}"),
        ("× first", "cpu_to_first", "{:.2f}"),
        ("RSS MiB", "rss_bytes", "MiB"),
    ],
    "connections": [
        ("proxy", "name", "{}"),
        ("idle connections", "connections", "{}"),
        ("RSS before MiB", "rss_before_bytes", "MiB"),
        ("RSS held MiB", "rss_held_bytes", "MiB"),
        ("bytes each", "bytes_per_connection", "{:.0f}"),
        ("CPU µs/req alone", "cpu_us_alone", "{:.1f}"),
        ("among them", "cpu_us_among", "{:.1f}"),
        ("×", "cpu_to_alone", "{:.2f}"),
    ],
    "body": [
        ("proxy", "name", "{}"),
        ("body", "direction", "{}"),
        ("MiB", "bytes", "MiB"),
        ("RSS before MiB", "rss_before_bytes", "MiB"),
        ("RSS peak MiB", "rss_peak_bytes", "MiB"),
        ("growth MiB", "growth_bytes", "MiB"),
        ("seconds", "seconds", "{:.1f}"),
    ],
    "soak": [
        ("proxy", "name", "{}"),
        ("generator", "generator", "{}"),
        ("seconds", "seconds", "{}"),
        ("requests", "requests", "{}"),
        ("errors", "errors", "{}"),
        ("RSS before MiB", "rss_before_bytes", "MiB"),
        ("RSS after MiB", "rss_after_bytes", "MiB"),
    ],
    "reloads": [
        ("configuration", "name", "{}"),
        ("reloads", "reloads", "{}"),
        ("refused", "refused", "{}"),
        ("seconds", "seconds", "{:.0f}"),
        ("requests", "requests", "{}"),
        ("errors", "errors", "{}"),
        ("p99 ms", "p99_ms", "{:.2f}"),
        ("RSS early MiB", "rss_early_bytes", "MiB"),
        ("RSS late MiB", "rss_late_bytes", "MiB"),
        ("descriptors idle", "descriptors_idle", "{}"),
        ("peak", "descriptors_peak", "{}"),
        ("after", "descriptors_after", "{}"),
        ("threads early", "threads_early", "{}"),
        ("late", "threads_late", "{}"),
    ],
    "tls": [
        ("contender", "name", "{}"),
        ("handshakes/s", "handshake_per_second", "{:.0f}"),
        ("CPU µs/handshake", "handshake_cpu_us", "{:.0f}"),
        ("× HAProxy", "handshake_cpu_to_haproxy", "{:.2f}"),
        ("× nginx", "handshake_cpu_to_nginx", "{:.2f}"),
        ("CPU µs/req", "cpu_us", "{:.1f}"),
        ("× HAProxy", "cpu_to_haproxy", "{:.2f}"),
        ("× nginx", "cpu_to_nginx", "{:.2f}"),
        ("req/s", "per_second", "{:.0f}"),
        ("p99 ms", "p99_ms", "{:.2f}"),
        ("loaded MiB", "loaded_rss_bytes", "MiB"),
    ],
    "writes": [
        ("proxy", "name", "{}"),
        ("held by", "held_by", "{}"),
        ("limit MiB", "limit_bytes", "MiB"),
        ("RSS peak MiB", "rss_peak_bytes", "MiB"),
        ("of the limit", "rss_to_limit", "{:.0%}"),
        ("reads p99 ms", "calm_p99_ms", "{:.2f}"),
        ("during writes", "during_p99_ms", "{:.2f}"),
        ("×", "during_to_calm", "{:.2f}"),
        ("writes answered", "answered", "{}"),
        ("refused", "refused", "{}"),
    ],
    "keyed": [
        ("request", "kind", "{}"),
        ("CPU µs/req", "cpu_us", "{:.1f}"),
        ("× read", "cpu_to_read", "{:.2f}"),
        ("req/s", "per_second", "{:.0f}"),
        ("p50 ms", "p50_ms", "{:.2f}"),
        ("p99 ms", "p99_ms", "{:.2f}"),
        ("RSS MiB", "rss_bytes", "MiB"),
    ],
}


def table(kind, rows):
    """Markdown, so that it can be pasted, with columns that line up in a terminal."""
    columns = [column for column in TABLES[kind] if any(column[1] in row for row in rows)]
    cells = [[heading for heading, _, _ in columns]]
    cells += [[_cell(row.get(key), style) for _, key, style in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = [_line(line, widths) for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|")
    notes = [f"{row['name']}: {row['note']}" for row in rows if "note" in row]
    return "\n".join(lines + notes)


def save(path, kind, settings, machine, rows):
    """Everything, unrounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"kind": kind, "machine": machine, "settings": settings, "rows": rows}, indent=2) + "\n")


def _line(cells, widths):
    padded = [cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(cells, widths))]
    return "| " + " | ".join(padded) + " |"


def _cell(value, style):
    if value is None:
        return "–"
    if style == "MiB":
        return f"{value / _MIB:.1f}"
    return style.format(value)
