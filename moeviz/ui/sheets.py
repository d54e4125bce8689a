"""Tables on the screen, and the way to take them home."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from moeviz.metrics.table import csv_bytes, parquet_bytes

KINDS = (
    ("CSV", csv_bytes, "csv", "text/csv"),
    ("Parquet", parquet_bytes, "parquet", "application/vnd.apache.parquet"),
)


def sheet(table: pd.DataFrame, name: str, **options: Any) -> None:
    """Draw a table, and below it buttons that save it with every digit; nothing runs again.

    name: of the file, and of the table on its page. options: as of st.dataframe.
    """
    st.dataframe(table, hide_index=True, **options)
    with st.container(horizontal=True, gap="small", key=f"save-{name}"):
        for label, make, ending, kind in KINDS:
            st.download_button(
                f"Save as {label}", partial(make, table), f"moeviz-{name}.{ending}", kind,
                key=f"save-{name}-{ending}", type="tertiary", on_click="ignore",
            )  # fmt: skip
