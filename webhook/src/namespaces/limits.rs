//! LimitRanges, as bounds for one container.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem},
    apimachinery::pkg::api::resource::Quantity as Written,
};

use crate::options::{Bound, Bounds, Quantity};

/// What all of these allow a container. (Those for whole pods are met or not by the
/// pod's own containers; nothing of ours makes them fit.)
pub(super) fn bounds<'a>(ranges: impl IntoIterator<Item = &'a LimitRange>) -> Bounds {
    let items = ranges
        .into_iter()
        .filter_map(|range| range.spec.as_ref())
        .flat_map(|spec| &spec.limits)
        .filter(|item| item.type_ == "Container");
    items.fold(Bounds::default(), |bounds, item| Bounds {
        cpu: bounds.cpu.and(bound(item, "cpu")),
        memory: bounds.memory.and(bound(item, "memory")),
    })
}

fn bound(item: &LimitRangeItem, name: &str) -> Bound {
    let of = |amounts: &Option<BTreeMap<String, Written>>| -> Option<Quantity> {
        amounts.as_ref()?.get(name)?.0.parse().ok()
    };
    Bound {
        min: of(&item.min),
        max: of(&item.max),
        ratio_max: of(&item.max_limit_request_ratio),
        limit_otherwise: of(&item.default),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_said_of_containers_counts() {
        let range = |items: serde_json::Value| -> LimitRange {
            let range = json!({"metadata": {}, "spec": {"limits": items}});
            serde_json::from_value(range).expect("it is a LimitRange")
        };
        let ranges = [
            range(json!([
                {"type": "Pod", "min": {"cpu": "1"}},
                {"type": "Container", "min": {"cpu": "20m"}, "max": {"memory": "1Gi"}},
            ])),
            range(json!([
                {"type": "Container", "min": {"cpu": "10m"}, "default": {"memory": "256Mi"},
                    "maxLimitRequestRatio": {"cpu": "4", "memory": "lots"}},
            ])),
            LimitRange::default(),
        ];
        let quantity = |text: &str| text.parse().ok();
        let expected = Bounds {
            cpu: Bound {
                min: quantity("20m"),
                ratio_max: quantity("4"),
                ..Bound::default()
            },
            memory: Bound {
                max: quantity("1Gi"),
                limit_otherwise: quantity("256Mi"),
                ..Bound::default()
            },
        };
        assert_eq!(bounds(&ranges), expected);
    }
}
