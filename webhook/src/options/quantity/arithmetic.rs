//! Sums and shares of quantities, written as containers are given them: in thousandths,
//! or, from a million on, in whole ones.

use super::Quantity;

/// In billionths, as quantities are counted.
const ONE: i128 = 1_000_000_000;
const THOUSANDTH: i128 = ONE / 1000;
const WHOLE_FROM: i128 = 1_000_000 * ONE;
/// More than can be meant, so that it can be rounded up.
const NANOS_MAX: i128 = i128::MAX - ONE;

impl Quantity {
    /// Whether it has no fraction, as a number of bytes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nanos % ONE == 0
    }

    /// Both together, rounded up.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::rounded_up(self.nanos.saturating_add(other.nanos))
    }

    /// What is left of it, rounded down; nothing, if there is not as much.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self::rounded_down(self.nanos.saturating_sub(other.nanos).max(0))
    }

    /// So many times it, rounded down.
    #[must_use]
    pub fn times(&self, factor: &Self) -> Self {
        let nanos = self.nanos.checked_mul(factor.nanos);
        Self::rounded_down(nanos.map_or(NANOS_MAX, |nanos| nanos / ONE))
    }

    /// It, divided by a number, rounded up. `None` if it is divided by nothing.
    #[must_use]
    pub fn divided_by(&self, divisor: &Self) -> Option<Self> {
        if divisor.is_zero() {
            return None;
        }
        let nanos = self.nanos.checked_mul(ONE)?;
        Some(Self::rounded_up(ceil(nanos, divisor.nanos)))
    }

    fn rounded_up(nanos: i128) -> Self {
        let nanos = nanos.min(NANOS_MAX);
        let unit = unit_of(nanos);
        Self::counted(ceil(nanos, unit), unit)
    }

    fn rounded_down(nanos: i128) -> Self {
        let unit = unit_of(nanos);
        Self::counted(nanos / unit, unit)
    }

    fn counted(count: i128, unit: i128) -> Self {
        let suffix = if unit == ONE { "" } else { "m" };
        Self {
            text: format!("{count}{suffix}"),
            nanos: count * unit,
        }
    }
}

fn unit_of(nanos: i128) -> i128 {
    if nanos < WHOLE_FROM { THOUSANDTH } else { ONE }
}

/// Of numbers that are not negative.
pub(super) fn ceil(number: i128, divisor: i128) -> i128 {
    let quotient = number.unsigned_abs().div_ceil(divisor.unsigned_abs());
    quotient.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is a quantity"))
    }

    #[test]
    fn sums_and_differences_are_written_as_containers_are_given_them() {
        for (one, other, sum, difference) in [
            ("1", "250m", "1250m", "750m"),
            ("250m", "1", "1250m", "0m"),
            ("1n", "0", "1m", "0m"),
            ("64Mi", "16Mi", "83886080", "50331648"),
            ("64Mi", "1m", "67108865", "67108863"),
            ("1E", "0", "1000000000000000000", "1000000000000000000"),
        ] {
            let (one, other) = (quantity(one), quantity(other));
            assert_eq!(one.plus(&other).to_string(), sum);
            assert_eq!(one.minus(&other).to_string(), difference);
        }
    }

    #[test]
    fn a_multiple_is_never_more_and_a_share_never_less() {
        assert_eq!(quantity("10m").times(&quantity("2.55")).to_string(), "25m");
        let third = quantity("100m").divided_by(&quantity("3"));
        assert_eq!(third.map(|third| third.to_string()).as_deref(), Some("34m"));
        assert_eq!(quantity("1").divided_by(&quantity("0")), None);
    }

    #[test]
    fn more_than_can_be_meant_is_still_a_quantity() {
        let most = quantity("99999999999E");
        assert!(most.plus(&most) >= most);
        assert!(most.times(&most) >= most);
    }
}
