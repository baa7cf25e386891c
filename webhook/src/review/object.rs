//! An admission's object, without what only the API server itself reads.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads any JSON; of an object `metadata.managedFields` is left out. It is a third of a
/// pod's text and, nested as it is, half of the work of reading it, and says nothing of
/// what is to run.
///
/// # Errors
/// If the text is no JSON.
pub(super) fn without_managed_fields<'de, D: Deserializer<'de>>(
    text: D,
) -> Result<Value, D::Error> {
    Without(&["metadata", "managedFields"]).deserialize(text)
}

/// Any JSON, without the member that this path leads to.
struct Without(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Value, D::Error> {
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            match self.0 {
                [left_out] if key == *left_out => {
                    members.next_value::<IgnoredAny>()?;
                }
                [parent, below @ ..] if key == *parent => {
                    object.insert(key, members.next_value_seed(Without(below))?);
                }
                _ => {
                    object.insert(key, members.next_value()?);
                }
            }
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        let mut text = serde_json::Deserializer::from_str(text);
        without_managed_fields(&mut text).expect("it is JSON")
    }

    #[test]
    fn only_managed_fields_of_the_metadata_are_left_out() {
        let pod = json!({
            "managedFields": [1],
            "metadata": {"name": "web", "managedFields": [{"f:spec": {}}], "labels": {}},
            "spec": {"metadata": {"managedFields": 1}, "containers": [{"name": "app"}]},
        });
        let mut expected = pod.clone();
        expected["metadata"]
            .as_object_mut()
            .expect("it is one")
            .remove("managedFields");
        assert_eq!(read(&pod.to_string()), expected);
    }

    #[test]
    fn whatever_else_is_there_is_read_as_it_is() {
        for text in [
            "null",
            "true",
            "-1",
            "1",
            "18446744073709551615",
            "1.5",
            "1e300",
            r#""a\n""#,
            "[]",
            r#"[{"metadata":{"managedFields":1}},null]"#,
            "{}",
            r#"{"metadata":null}"#,
            r#"{"metadata":[1]}"#,
            r#"{"metadata":"x","spec":-0.0}"#,
        ] {
            let expected: Value = serde_json::from_str(text).expect("it is JSON");
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
