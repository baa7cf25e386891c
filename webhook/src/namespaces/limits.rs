//! LimitRanges, as bounds for one container and for all of a pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem},
    apimachinery::pkg::api::resource::Quantity as Written,
};

use crate::options::{Bound, Bounds, BoundsOf, Quantity};

/// What all of these, of one namespace, allow its pods. (Those for claims of storage are
/// none of a pod's.)
#[must_use]
pub fn bounds<'a>(ranges: impl IntoIterator<Item = &'a LimitRange>) -> Bounds {
    let items = ranges
        .into_iter()
        .filter_map(|range| range.spec.as_ref())
        .flat_map(|spec| &spec.limits);
    items.fold(Bounds::default(), |bounds, item| Bounds {
        cpu: narrowed(bounds.cpu, item, "cpu"),
        memory: narrowed(bounds.memory, item, "memory"),
        ephemeral_storage: narrowed(bounds.ephemeral_storage, item, "ephemeral-storage"),
    })
}

fn narrowed(bounds: BoundsOf, item: &LimitRangeItem, name: &str) -> BoundsOf {
    let BoundsOf { container, pod } = bounds;
    match item.type_.as_str() {
        "Container" => BoundsOf {
            container: container.and(bound(item, name)),
            pod,
        },
        "Pod" => BoundsOf {
            container,
            pod: pod.and(bound(item, name)),
        },
        _ => BoundsOf { container, pod },
    }
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
        request_otherwise: of(&item.default_request),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_of_containers_and_of_pods_is_told_apart() {
        let range = |items: serde_json::Value| -> LimitRange {
            let range = json!({"metadata": {}, "spec": {"limits": items}});
            serde_json::from_value(range).expect("it is a LimitRange")
        };
        let ranges = [
            range(json!([
                {"type": "Pod", "max": {"cpu": "2"}},
                {"type": "Container", "min": {"cpu": "20m"}, "max": {"memory": "1Gi"}},
                {"type": "PersistentVolumeClaim", "max": {"memory": "1Mi", "storage": "1Gi"}},
            ])),
            range(json!([
                {"type": "Container", "min": {"cpu": "10m"}, "default": {"memory": "256Mi"},
                    "defaultRequest": {"memory": "8Mi"},
                    "maxLimitRequestRatio": {"cpu": "4", "memory": "lots"}},
                {"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "64Mi"}},
                {"type": "Container", "maxLimitRequestRatio": {"ephemeral-storage": "2"}},
            ])),
            LimitRange::default(),
        ];
        let quantity = |text: &str| text.parse().ok();
        let expected = Bounds {
            cpu: BoundsOf {
                container: Bound {
                    min: quantity("20m"),
                    ratio_max: quantity("4"),
                    ..Bound::default()
                },
                pod: Bound {
                    max: quantity("1"),
                    ..Bound::default()
                },
            },
            memory: BoundsOf {
                container: Bound {
                    max: quantity("1Gi"),
                    limit_otherwise: quantity("256Mi"),
                    request_otherwise: quantity("8Mi"),
                    ..Bound::default()
                },
                pod: Bound {
                    min: quantity("64Mi"),
                    ..Bound::default()
                },
            },
            ephemeral_storage: BoundsOf {
                container: Bound {
                    ratio_max: quantity("2"),
                    ..Bound::default()
                },
                ..BoundsOf::default()
            },
        };
        assert_eq!(bounds(&ranges), expected);
    }
}
