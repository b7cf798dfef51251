// Functions that run in the browser; Dash finds them by name.
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.mlwarehouse = {
  openMenu: function (opened, navbar) {
    return Object.assign({}, navbar, { collapsed: { mobile: !opened } });
  },
  // A new question empties the grid's cache; the same question over newer tables refreshes it in place, so that a
  // visitor who has scrolled down stays there.
  askAgain: function (question, before, gridId) {
    if (!question) {
      return window.dash_clientside.no_update;
    }
    var asked = JSON.stringify([question.experiments, question.filter, question.columns]);
    var same = before === asked;
    window.dash_ag_grid.getApiAsync(gridId).then(function (api) {
      var empty = api.getDisplayedRowCount() === 0;
      if (!empty && !before) {
        return; // The grid has asked by itself when it was made.
      }
      if (!empty && same) {
        api.refreshInfiniteCache();
        return;
      }
      if (!empty) {
        api.ensureIndexVisible(0);
      }
      api.purgeInfiniteCache();
    });
    return asked;
  },
};
