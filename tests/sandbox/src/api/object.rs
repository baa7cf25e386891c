//! Reading and writing the JSON of a Kubernetes object by JSON pointer (RFC 6901).

use k8s_openapi::jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value};

/// What the server asks of an object's JSON, whatever its kind.
pub(crate) trait Object {
    /// The string at `pointer`, or "" if there is none.
    fn text(&self, pointer: &str) -> &str;
    /// The array at `pointer`, or an empty one.
    fn items(&self, pointer: &str) -> &[Value];
    /// The value at `pointer`, made with all objects above it if it is missing or null.
    fn entry(&mut self, pointer: &str) -> &mut Value;
    /// Writes `value` at `pointer`.
    fn set(&mut self, pointer: &str, value: impl Into<Value>);
    /// Writes `value` at `pointer` unless something other than null is there.
    fn default_to(&mut self, pointer: &str, value: impl Into<Value>);
    /// Takes away what is at `pointer`.
    fn take_out(&mut self, pointer: &str) -> Option<Value>;
    /// The items of the array at `pointer`, to be changed; none if there is no array.
    fn each(&mut self, pointer: &str) -> &mut [Value];

    /// The number at `pointer`, if there is one.
    fn integer(&self, pointer: &str) -> Option<i64>;
    /// Adds `item` to the array at `pointer`, which is made if it is missing.
    fn push(&mut self, pointer: &str, item: Value) {
        let at = self.entry(pointer);
        match at {
            Value::Array(list) => list.push(item),
            _ => *at = Value::Array(vec![item]),
        }
    }

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.text("/metadata/name")
    }
    /// `metadata.namespace`, "" for cluster-scoped objects.
    fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }
    /// `metadata.uid`.
    fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }
    /// `metadata.resourceVersion`.
    fn revision(&self) -> &str {
        self.text("/metadata/resourceVersion")
    }
    /// Whether a condition in the object's status holds.
    fn has_condition(&self, kind: &str) -> bool {
        let mut conditions = self.items("/status/conditions").iter();
        conditions.any(|one| one["type"] == kind && one["status"] == "True")
    }
    /// Whether something keeps the object from going when it is deleted.
    fn is_held(&self) -> bool {
        !self.items("/metadata/finalizers").is_empty() || !self.items("/spec/finalizers").is_empty()
    }
    /// Whether deletion was asked for and something still holds the object.
    fn is_terminating(&self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }
}

impl Object for Value {
    fn text(&self, pointer: &str) -> &str {
        self.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    fn items(&self, pointer: &str) -> &[Value] {
        self.pointer(pointer)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn entry(&mut self, pointer: &str) -> &mut Value {
        let mut at = self;
        for segment in pointer.split('/').skip(1) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let map = at.as_object_mut().expect("it was just made an object");
            let key = segment.replace("~1", "/").replace("~0", "~");
            at = map.entry(key).or_insert(Value::Null);
        }
        at
    }

    fn set(&mut self, pointer: &str, value: impl Into<Value>) {
        *self.entry(pointer) = value.into();
    }

    fn default_to(&mut self, pointer: &str, value: impl Into<Value>) {
        let at = self.entry(pointer);
        if at.is_null() {
            *at = value.into();
        }
    }

    fn take_out(&mut self, pointer: &str) -> Option<Value> {
        let (parent, key) = pointer.rsplit_once('/')?;
        let key = key.replace("~1", "/").replace("~0", "~");
        self.pointer_mut(parent)?.as_object_mut()?.remove(&key)
    }

    fn each(&mut self, pointer: &str) -> &mut [Value] {
        let list = self.pointer_mut(pointer).and_then(Value::as_array_mut);
        list.map_or(&mut [], Vec::as_mut_slice)
    }

    fn integer(&self, pointer: &str) -> Option<i64> {
        self.pointer(pointer)?.as_i64()
    }
}

/// Now, as Kubernetes writes `metav1.Time`: RFC 3339 in UTC, whole seconds.
pub(crate) fn now() -> String {
    at(Timestamp::now())
}

/// `time` as Kubernetes writes `metav1.Time`.
pub(crate) fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A random (version 4) UUID, RFC 9562.
pub(crate) fn new_uid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The five characters that Kubernetes appends to `generateName`: no vowels, so no words.
pub(crate) fn name_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    random::<5>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the kernel's random numbers are available once it has booted");
    bytes
}
