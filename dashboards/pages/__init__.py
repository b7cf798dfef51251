"""The pages, a module each; `app.PAGES` lists them."""
