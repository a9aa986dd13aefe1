package rollup

// wantExport is what TestExport must give. Its minute is 1700000040.
const wantExport = `
resource_metrics { scope_metrics { scope { name: "slipstream/rollup" }
  metrics { name: "heat" gauge { data_points { SHOP time_unix_nano: 1700000060000000005 as_double: 5 } } }
  metrics { name: "took" unit: "ms" exponential_histogram { aggregation_temporality: DELTA data_points { SHOP MINUTE
    count: 4 sum: -5 scale: 2 zero_count: 1 min: -8 max: 2
    positive { offset: -1 bucket_counts: [1, 0, 0, 0, 1] } negative { offset: 11 bucket_counts: 1 } } } }
  metrics { name: "queue" sum { aggregation_temporality: DELTA data_points { SHOP MINUTE as_double: -4
    attributes { key: "k" value { array_value { values { string_value: "x" } values { string_value: "y" } } } } } } }
  metrics { name: "users" gauge { data_points {
    attributes { key: "source" value { string_value: "host" } } time_unix_nano: 1700000100000000000 as_double: 2 } } }
  metrics { name: "orders" sum { aggregation_temporality: DELTA data_points { SHOP MINUTE as_double: -1 } } }
  metrics { name: "orders" sum { aggregation_temporality: DELTA is_monotonic: true data_points { SHOP MINUTE
    as_double: 2.5 attributes { key: "a" value { string_value: "1" } }
    attributes { key: "b" value { string_value: "2" } }
  } } }
  metrics { name: "heat.summary" histogram { aggregation_temporality: DELTA data_points { SHOP MINUTE
    count: 3 sum: 15 min: 3 max: 7 } } }
} }`
