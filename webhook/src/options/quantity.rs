//! Kubernetes resource quantities: `10m`, `64Mi`, `1.5`, `1e3`.

use std::{cmp::Ordering, fmt, str::FromStr};

mod arithmetic;

/// More digits than anything measurable has; bounds the arithmetic.
const DIGITS_MAX: usize = 18;

/// An amount of CPU (cores) or memory (bytes), kept as it was written. Quantities
/// are equal if their amounts are: `1000m` is `1`.
///
/// The grammar is that of <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>,
/// without a sign, since a container can't ask for less than nothing.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    /// The amount in billionths, which is as finely as Kubernetes counts.
    nanos: i128,
}

/// Why a quantity does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a quantity such as 100m or 64Mi")]
pub struct NotAQuantity;

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let suffix_at = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(suffix_at);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = whole.len() + fraction.len();
        if digits == 0 || digits > DIGITS_MAX || fraction.contains('.') {
            return Err(NotAQuantity);
        }
        let mantissa: i128 = format!("{whole}{fraction}")
            .parse()
            .map_err(|_| NotAQuantity)?;
        let scale = Scale::from_suffix(suffix).ok_or(NotAQuantity)?;
        let fraction_digits = u32::try_from(fraction.len()).map_err(|_| NotAQuantity)?;
        let nanos = scale.nanos(mantissa, fraction_digits).ok_or(NotAQuantity)?;
        Ok(Self {
            text: text.to_owned(),
            nanos,
        })
    }
}

impl Quantity {
    /// Whether it is nothing at all.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// What a number is multiplied by.
#[derive(Clone, Copy)]
enum Scale {
    /// A power of ten.
    Decimal(i32),
    /// A power of 1024.
    Binary(u32),
}

impl Scale {
    fn from_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(1),
            "Mi" => Self::Binary(2),
            "Gi" => Self::Binary(3),
            "Ti" => Self::Binary(4),
            "Pi" => Self::Binary(5),
            "Ei" => Self::Binary(6),
            exponent => Self::Decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
        })
    }

    /// `mantissa / 10^fraction_digits`, scaled, in billionths; rounded up, as
    /// Kubernetes does, and `None` if it is too large to be meant.
    fn nanos(self, mantissa: i128, fraction_digits: u32) -> Option<i128> {
        const NANOS: i32 = 9;
        let (mantissa, exponent) = match self {
            Self::Decimal(exponent) => (mantissa, exponent),
            Self::Binary(power) => (mantissa.checked_mul(1024_i128.checked_pow(power)?)?, 0),
        };
        let exponent = exponent
            .checked_add(NANOS)?
            .checked_sub(fraction_digits.try_into().ok()?)?;
        let magnitude = 10_i128.checked_pow(exponent.unsigned_abs())?;
        if exponent >= 0 {
            mantissa.checked_mul(magnitude)
        } else {
            Some(arithmetic::ceil(mantissa, magnitude))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is a quantity"))
    }

    #[test]
    fn refuses_what_kubernetes_would_refuse() {
        for text in [
            "",
            " ",
            ".",
            "m",
            "-1",
            "+1",
            "1 Mi",
            "1MiB",
            "1mi",
            "1K",
            "0x10",
            "1.2.3",
            "1e",
            "1e999999999999",
            "1e40",
            "nan",
            "1,5",
            "9999999999999999999",
            "1µ",
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(NotAQuantity), "{text:?}");
        }
    }

    #[test]
    fn keeps_the_text_and_compares_the_amount() {
        assert_eq!(quantity("0.50").to_string(), "0.50");
        for (small, large) in [
            ("999m", "1"),
            ("1", "1001m"),
            ("64M", "64Mi"),
            ("1e3", "1001"),
            ("1G", "1Gi"),
            ("0", "1n"),
            (".5", "0.6"),
        ] {
            assert!(quantity(small) < quantity(large), "{small} {large}");
        }
        for (one, other) in [
            ("1000m", "1"),
            ("1Ki", "1024"),
            ("1E3", "1k"),
            ("5.", "5"),
            ("1E", "1e18"),
        ] {
            assert_eq!(quantity(one), quantity(other));
        }
        assert!(quantity("0.000").is_zero());
    }
}
