//! What the LimitRanges of a namespace allow a container.
//! <https://kubernetes.io/docs/concepts/policy/limit-range/>

use super::Quantity;

/// Bounds for both resources that a sidecar asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of cores.
    pub cpu: Bound,
    /// Of bytes.
    pub memory: Bound,
}

/// Bounds of a request and a limit; none that are not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Both are at least this.
    pub min: Option<Quantity>,
    /// Both are at most this, and there must be a limit.
    pub max: Option<Quantity>,
    /// The limit is at most so many times the request, and there must be one.
    pub ratio_max: Option<Quantity>,
    /// The limit of a container that has none.
    pub limit_otherwise: Option<Quantity>,
}

impl Bounds {
    /// Those of a resource by Kubernetes' name for it.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Bound> {
        match name {
            "cpu" => Some(&self.cpu),
            "memory" => Some(&self.memory),
            _ => None,
        }
    }
}

impl Bound {
    /// Both of these bounds.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        // A bound that is there goes before one that isn't.
        let least = |one: Option<Quantity>, other: Option<Quantity>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            min: self.min.max(other.min),
            max: least(self.max, other.max),
            ratio_max: least(self.ratio_max, other.ratio_max),
            limit_otherwise: least(self.limit_otherwise, other.limit_otherwise),
        }
    }

    /// A request and a limit, moved by as little as it takes to be within the bounds.
    /// Where there must be a limit and nobody says which, it is `most`.
    #[must_use]
    pub fn fit(
        &self,
        request: Quantity,
        limit: Option<Quantity>,
        most: Quantity,
    ) -> (Quantity, Option<Quantity>) {
        let is_due = self.max.is_some() || self.ratio_max.is_some();
        let invented = || {
            let otherwise = self.limit_otherwise.clone();
            let limit = otherwise.or_else(|| is_due.then_some(most));
            // LimitRanger would write a lower one, and then refuse the pod for it.
            limit.map(|limit| limit.max(request.clone()))
        };
        let limit = limit.or_else(invented).map(|limit| self.clamp(limit));
        let mut request = self.clamp(request);
        if let Some(limit) = &limit {
            if let Some(ratio) = &self.ratio_max
                && let Some(least) = limit.divided_by(ratio)
            {
                request = request.max(least);
            }
            request = request.min(limit.clone());
        }
        (request, limit)
    }

    fn clamp(&self, amount: Quantity) -> Quantity {
        let amount = match &self.min {
            Some(min) => amount.max(min.clone()),
            None => amount,
        };
        match &self.max {
            Some(max) => amount.min(max.clone()),
            None => amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Option<Quantity> {
        (!text.is_empty()).then(|| text.parse().expect("it is a quantity"))
    }

    fn fitted(bound: &Bound, request: &str, limit: &str) -> String {
        let request = quantity(request).expect("there always is one");
        let most = quantity("128Mi").expect("it is a quantity");
        match bound.fit(request, quantity(limit), most) {
            (request, Some(limit)) => format!("{request} of {limit}"),
            (request, None) => request.to_string(),
        }
    }

    #[test]
    fn amounts_are_moved_by_as_little_as_it_takes() {
        let none = Bound::default();
        let min = Bound {
            min: quantity("32Mi"),
            ..Bound::default()
        };
        let max = Bound {
            max: quantity("64Mi"),
            ..Bound::default()
        };
        let ratio = Bound {
            ratio_max: quantity("2"),
            ..Bound::default()
        };
        let otherwise = Bound {
            limit_otherwise: quantity("24Mi"),
            ..Bound::default()
        };
        for (bound, request, limit, expected) in [
            (&none, "16Mi", "", "16Mi"),
            (&none, "16Mi", "1Gi", "16Mi of 1Gi"),
            (&min, "16Mi", "", "32Mi"),
            (&min, "16Mi", "24Mi", "32Mi of 32Mi"),
            (&min, "48Mi", "", "48Mi"),
            (&max, "16Mi", "", "16Mi of 64Mi"),
            (&max, "1Gi", "2Gi", "64Mi of 64Mi"),
            (&ratio, "16Mi", "", "67108864 of 128Mi"),
            (&ratio, "16Mi", "20Mi", "16Mi of 20Mi"),
            (&ratio, "100m", "500m", "250m of 500m"),
            (&ratio, "1", "3m", "3m of 3m"),
            (&otherwise, "16Mi", "", "16Mi of 24Mi"),
            (&otherwise, "32Mi", "", "32Mi of 32Mi"),
        ] {
            let fitted = fitted(bound, request, limit);
            assert_eq!(fitted, expected, "{bound:?}: {request} {limit}");
        }
    }

    #[test]
    fn of_two_ranges_the_narrower_bounds_hold() {
        let bound = |min: &str, max: &str| Bound {
            min: quantity(min),
            max: quantity(max),
            ..Bound::default()
        };
        assert_eq!(bound("1", "").and(bound("2", "9")), bound("2", "9"));
        assert_eq!(bound("", "8").and(bound("1", "9")), bound("1", "8"));
    }
}
