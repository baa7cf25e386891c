//! What the sidecar asks for: a request and perhaps a limit, for CPU and memory.

use crate::warnings::Warnings;

use super::{Given, Quantity};

/// A request, and a limit that is never below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    request: Quantity,
    limit: Option<Quantity>,
}

impl Budget {
    /// A budget of both, or `None` if the limit is below the request: the API
    /// server would refuse a pod with such a container.
    #[must_use]
    pub fn new(request: Quantity, limit: Option<Quantity>) -> Option<Self> {
        match &limit {
            Some(limit) if *limit < request => None,
            _ => Some(Self { request, limit }),
        }
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

    /// Lays what annotations ask for over this budget. A limit alone takes
    /// the request down with it, as Kubernetes' own default does; a request and a
    /// limit that contradict each other lose the one that was given last.
    pub fn overlay(
        &mut self,
        request: Option<Given<'_>>,
        limit: Option<Given<'_>>,
        warnings: &mut Warnings,
    ) {
        let request = request.and_then(|given| Some((given, quantity(given, warnings)?)));
        let limit = limit.and_then(|given| Some((given, quantity(given, warnings)?)));
        match (request, limit) {
            (None, None) => {}
            (None, Some((_, limit))) => {
                self.request = self.request.clone().min(limit.clone());
                self.limit = Some(limit);
            }
            (Some((given, request)), None) => match &self.limit {
                Some(limit) if *limit < request => {
                    let why = format!("is more than the limit of {limit}");
                    warnings.ignored(given, &why);
                }
                _ => self.request = request,
            },
            (Some((_, request)), Some((given, limit))) => {
                if limit < request {
                    let why = format!("is less than the request of {request}");
                    warnings.ignored(given, &why);
                    self.limit.take_if(|limit| *limit < request);
                } else {
                    self.limit = Some(limit);
                }
                self.request = request;
            }
        }
    }
}

fn quantity(given: Given<'_>, warnings: &mut Warnings) -> Option<Quantity> {
    match given.value.parse() {
        Ok(quantity) => Some(quantity),
        Err(error) => {
            let error: super::NotAQuantity = error;
            warnings.ignored(given, &error.to_string());
            None
        }
    }
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
        assert_eq!(
            budget,
            Budget::new(quantity("100m"), None).expect("no limit")
        );
        assert_eq!(
            warnings,
            [r#"limit: "50m" is less than the request of 100m; ignored"#]
        );

        let (budget, warnings) = laid_over(Some("50m"), Some("2"), None);
        assert_eq!(budget.request(), &quantity("10m"));
        assert_eq!(
            warnings,
            [r#"request: "2" is more than the limit of 50m; ignored"#]
        );
    }

    #[test]
    fn what_is_no_quantity_leaves_the_default() {
        let (budget, warnings) = laid_over(Some("1"), Some("lots"), Some("-1"));
        assert_eq!(
            budget,
            Budget::new(quantity("10m"), Some(quantity("1"))).expect("ordered")
        );
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
