//! What the sidecar asks for: a request and perhaps a limit, for CPU and memory.

use crate::warnings::Warnings;

use super::{Given, NotAQuantity, Quantity};

/// With a limit of less the kernel ends the sidecar before it is there.
pub(crate) const MEMORY_LIMIT_MIN: &str = "8Mi";

/// Why an amount is none for a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// It is no amount at all.
    #[error(transparent)]
    NotAQuantity(#[from] NotAQuantity),
    /// `m` is for thousandths, where `Mi` was meant.
    #[error("is not a whole number of bytes")]
    NotWhole,
    /// The sidecar would not live on it.
    #[error("is less than {MEMORY_LIMIT_MIN}")]
    TooLittle,
}

/// What an amount is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Cores.
    Cpu,
    /// Bytes.
    Memory,
}

/// A request, and a limit that is never below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    request: Quantity,
    limit: Option<Quantity>,
    is_chosen: bool,
}

impl Budget {
    /// A budget of both that nobody chose yet, or `None` if the limit is below the
    /// request: the API server would refuse a pod with such a container.
    #[must_use]
    pub fn new(request: Quantity, limit: Option<Quantity>) -> Option<Self> {
        let is_chosen = false;
        let fits = limit.as_ref().is_none_or(|limit| *limit >= request);
        fits.then_some(Self {
            request,
            limit,
            is_chosen,
        })
    }

    /// Whether a pod or its namespace has a part in it, be it what it would be anyway.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.is_chosen
    }

    /// The amount that the scheduler keeps free.
    #[must_use]
    pub fn request(&self) -> &Quantity {
        &self.request
    }

    /// The amount that the kernel enforces, if any.
    #[must_use]
    pub fn limit(&self) -> Option<&Quantity> {
        self.limit.as_ref()
    }

    /// Lays what annotations ask for over this budget. Either of the two, alone, takes
    /// the other along as far as it must, since what was there is of less weight; a
    /// request and a limit that contradict each other lose the limit.
    pub(super) fn overlay(
        &mut self,
        resource: Resource,
        request: Option<Given<'_>>,
        limit: Option<Given<'_>>,
        warnings: &mut Warnings,
    ) {
        let request = request.and_then(|given| resource.request(given, warnings));
        let limit = limit.and_then(|given| Some((given, resource.limit(given, warnings)?)));
        self.is_chosen |= request.is_some() || limit.is_some();
        let limit = limit.and_then(|(given, limit)| match &request {
            Some(request) if limit < *request => {
                let why = format!("is less than the request of {request}");
                warnings.ignored(given, &why);
                None
            }
            _ => Some(limit),
        });
        if let Some(limit) = limit {
            self.request = self.request.clone().min(limit.clone());
            self.limit = Some(limit);
        }
        if let Some(request) = request {
            self.limit = self.limit.take().map(|limit| limit.max(request.clone()));
            self.request = request;
        }
    }
}

impl Resource {
    fn request(self, given: Given<'_>, warnings: &mut Warnings) -> Option<Quantity> {
        let read = match self {
            Self::Cpu => cpu,
            Self::Memory => memory_request,
        };
        taken(read(given.value), given, warnings)
    }

    fn limit(self, given: Given<'_>, warnings: &mut Warnings) -> Option<Quantity> {
        let read = match self {
            Self::Cpu => cpu,
            Self::Memory => memory_limit,
        };
        taken(read(given.value), given, warnings)
    }
}

fn cpu(text: &str) -> Result<Quantity, BadAmount> {
    Ok(text.parse()?)
}

/// Reads a request for memory, of flags and annotations alike.
pub(super) fn memory_request(text: &str) -> Result<Quantity, BadAmount> {
    let amount: Quantity = text.parse()?;
    if amount.is_whole() {
        Ok(amount)
    } else {
        Err(BadAmount::NotWhole)
    }
}

/// Reads a limit of memory, of flags and annotations alike.
pub(super) fn memory_limit(text: &str) -> Result<Quantity, BadAmount> {
    let amount: Quantity = text.parse()?;
    let least = MEMORY_LIMIT_MIN.parse()?;
    if amount < least {
        Err(BadAmount::TooLittle)
    } else {
        Ok(amount)
    }
}

fn taken(
    amount: Result<Quantity, BadAmount>,
    given: Given<'_>,
    warnings: &mut Warnings,
) -> Option<Quantity> {
    amount
        .inspect_err(|error| warnings.ignored(given, &error.to_string()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Source;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect("it is a quantity")
    }

    /// Lays annotations over a budget of 10m, limited to `limit`.
    fn laid_over(
        limit: Option<&str>,
        request: Option<&'static str>,
        own: Option<&'static str>,
    ) -> (Budget, Vec<String>) {
        let mut budget = Budget::new(quantity("10m"), limit.map(quantity)).expect("10m is little");
        let mut warnings = Warnings::default();
        let source = Source::Pod;
        let given =
            |key, value: Option<&'static str>| value.map(|value| Given { source, key, value });
        budget.overlay(
            Resource::Cpu,
            given("request", request),
            given("limit", own),
            &mut warnings,
        );
        (budget, warnings.into_lines())
    }

    #[test]
    fn refuses_a_limit_below_the_request() {
        assert!(Budget::new(quantity("1"), Some(quantity("999m"))).is_none());

        let (budget, warnings) = laid_over(None, Some("100m"), Some("50m"));
        assert_eq!(budget.request(), &quantity("100m"));
        assert_eq!(budget.limit(), None);
        assert_eq!(
            warnings,
            [r#"limit: "50m" is less than the request of 100m; ignored"#]
        );
    }

    #[test]
    fn a_request_goes_before_a_limit_of_less_weight() {
        let (budget, warnings) = laid_over(Some("50m"), Some("2"), None);
        assert_eq!(budget.request(), &quantity("2"));
        assert_eq!(budget.limit(), Some(&quantity("2")));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn too_little_memory_to_be_meant_leaves_the_default() {
        let given = |key, value| {
            let source = Source::Pod;
            Some(Given { source, key, value })
        };
        let default = Budget::new(quantity("16Mi"), None).expect("there is no limit");
        for (request, limit, why) in [
            (
                None,
                given("limit", "64m"),
                r#"limit: "64m" is less than 8Mi; ignored"#,
            ),
            (
                None,
                given("limit", "1"),
                r#"limit: "1" is less than 8Mi; ignored"#,
            ),
            (
                None,
                given("limit", "0"),
                r#"limit: "0" is less than 8Mi; ignored"#,
            ),
            (
                given("request", "64m"),
                None,
                r#"request: "64m" is not a whole number of bytes; ignored"#,
            ),
        ] {
            let (mut budget, mut warnings) = (default.clone(), Warnings::default());
            budget.overlay(Resource::Memory, request, limit, &mut warnings);
            assert_eq!(budget, default);
            assert_eq!(warnings.into_lines(), [why]);
        }
        let (mut budget, mut warnings) = (default, Warnings::default());
        let (nothing, least) = (given("request", "0"), given("limit", "8Mi"));
        budget.overlay(Resource::Memory, nothing, least, &mut warnings);
        assert!(budget.request().is_zero(), "a quota may want that");
        assert!(warnings.into_lines().is_empty());
    }

    #[test]
    fn what_is_no_quantity_leaves_the_default() {
        let (budget, warnings) = laid_over(Some("1"), Some("lots"), Some("-1"));
        assert_eq!(
            budget,
            Budget::new(quantity("10m"), Some(quantity("1"))).expect("ordered")
        );
        assert!(!budget.is_chosen());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn a_limit_alone_takes_the_request_down_with_it() {
        let (budget, warnings) = laid_over(None, None, Some("5m"));
        assert_eq!(budget.request(), &quantity("5m"));
        assert_eq!(budget.limit(), Some(&quantity("5m")));
        assert!(warnings.is_empty());
    }
}
