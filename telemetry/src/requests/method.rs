//! Methods that have a name of their own in labels.

/// A method of HTTP, as far as the conventions know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `CONNECT`
    Connect,
    /// `TRACE`
    Trace,
    /// `QUERY`
    Query,
    /// Any other: whoever sends requests could make up as many as they like.
    Other,
}

impl Method {
    /// All of them, in their order.
    pub(super) const ALL: [Method; 11] = [
        Method::Get,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Head,
        Method::Options,
        Method::Connect,
        Method::Trace,
        Method::Query,
        Method::Other,
    ];

    /// The method that a request names. Methods are case-sensitive (RFC 9110 section 9.1).
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let is = |method: &Method| method.as_str().as_bytes() == name;
        let known = Self::ALL.into_iter().find(is);
        known.unwrap_or(Method::Other)
    }

    /// The method of a request whose head begins here.
    #[must_use]
    pub fn of_head(head: &[u8]) -> Self {
        let end = head.iter().take(8).position(|byte| *byte == b' ');
        end.map_or(Method::Other, |end| Self::of(&head[..end]))
    }

    /// As in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Trace => "TRACE",
            Method::Query => "QUERY",
            Method::Other => "_OTHER",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_methods_by_their_exact_names_and_heads() {
        for method in Method::ALL {
            assert_eq!(Method::ALL[method as usize], method);
            assert_eq!(Method::of(method.as_str().as_bytes()), method);
            let head = format!("{} / HTTP/1.1\r\n", method.as_str());
            assert_eq!(Method::of_head(head.as_bytes()), method);
        }
        for other in ["", "get", "GETS", "MKCALENDAR"] {
            assert_eq!(Method::of(other.as_bytes()), Method::Other);
        }
        for head in ["", "GET", "UNCHECKOUT / HTTP/1.1\r\n"] {
            assert_eq!(Method::of_head(head.as_bytes()), Method::Other);
        }
    }
}
