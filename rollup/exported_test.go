package rollup

// exported is what TestExport must give: its minute is 1700000040, its points are
// of second 60 there.
const exported = `
resource_metrics {
  scope_metrics {
    scope { name: "slipstream/rollup" }
  }
}`
