"""The dashboards: `create_app` in `app` builds them over a warehouse.

Three layers: named questions (`data`, `runs_data`), figures (`figures`), pages (`pages`). Dash is loaded only when one
of the last is imported.
"""
