//! A JSON patch in the making, beside the document as it will be.

use std::collections::BTreeMap;

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::{Value, json};

/// Collects operations. Each is applied to a copy of the document, so that the
/// next one knows which parents are there by then.
pub(super) struct Draft {
    document: Value,
    operations: Vec<PatchOperation>,
    before: BTreeMap<String, Value>,
}

impl Draft {
    pub(super) fn of(document: &Value) -> Self {
        Self {
            document: document.clone(),
            operations: Vec::new(),
            before: BTreeMap::new(),
        }
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.operations)
    }

    /// The document as the patch leaves it.
    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    /// Sets a member of an object. Parents that are missing (or `null`) come with
    /// it in the same operation; nothing happens if the value is there already.
    pub(super) fn set(&mut self, path: &[&str], value: Value) {
        self.remember(path);
        if self.get(path) == Some(&value) {
            return;
        }
        let present = present(&self.document, path);
        if present == path.len() {
            *self.at(path) = value.clone();
            self.operations.push(replace(pointer(path), value));
            return;
        }
        let (path, below) = path.split_at(present + 1);
        let wrap = |value: Value, key: &&str| json!({ *key: value });
        let value = below.iter().rev().fold(value, wrap);
        let parent = self.at(&path[..present]);
        parent[path[present]] = value.clone();
        self.operations.push(add(pointer(path), value));
    }

    /// Inserts items into a list, one operation each; a list that is missing is
    /// added with them in one.
    pub(super) fn insert(&mut self, path: &[&str], index: usize, items: Vec<Value>) {
        if present(&self.document, path) < path.len() {
            self.set(path, Value::Array(items));
            return;
        }
        if self.get(path) == Some(&json!([])) {
            self.remember(path);
        }
        let list = self
            .at(path)
            .as_array_mut()
            .expect("the view of the pod read a list");
        let inserted = items.len();
        list.splice(index..index, items.iter().cloned());
        for (index, item) in (index..index + inserted).zip(items) {
            let mut path = pointer(path);
            path.push_back(Token::from(index));
            self.operations.push(add(path, item));
        }
    }

    /// What was there before, by its JSON pointer, where that was something and yet
    /// taking out what was added would not bring it back.
    pub(super) fn before(&self) -> &BTreeMap<String, Value> {
        &self.before
    }

    /// Keeps what taking out an addition at this path would make an end of: a value
    /// that was there already, or a `null` or an empty list or object that is added to.
    pub(super) fn remember(&mut self, path: &[&str]) {
        let mut place = &self.document;
        for (depth, key) in path.iter().enumerate() {
            let Some(member) = place.get(*key) else {
                return;
            };
            place = member;
            let last = depth + 1 == path.len();
            let is_empty = match member {
                Value::Null => true,
                Value::Object(object) => object.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            if last || is_empty {
                let pointer = pointer(&path[..=depth]).to_string();
                self.before.entry(pointer).or_insert_with(|| member.clone());
            }
        }
    }

    fn get(&self, path: &[&str]) -> Option<&Value> {
        path.iter()
            .try_fold(&self.document, |place, key| place.get(*key))
    }

    /// Puts a member into an object that is there, be the member new or not.
    pub(super) fn put(&mut self, path: PointerBuf, value: Value) {
        match self.document.pointer(path.as_str()) {
            Some(present) if *present == value => {}
            Some(_) => self.apply(replace(path, value)),
            None => self.apply(add(path, value)),
        }
    }

    /// Takes out a member that is there.
    pub(super) fn remove(&mut self, path: PointerBuf) {
        self.apply(PatchOperation::Remove(RemoveOperation { path }));
    }

    fn apply(&mut self, operation: PatchOperation) {
        json_patch::patch(&mut self.document, std::slice::from_ref(&operation))
            .expect("the caller read the document that the operation is for");
        self.operations.push(operation);
    }

    fn at(&mut self, path: &[&str]) -> &mut Value {
        path.iter()
            .fold(&mut self.document, |place, key| &mut place[*key])
    }
}

/// How many of the keys lead to something.
fn present(document: &Value, path: &[&str]) -> usize {
    path.iter()
        .scan(document, |place, key| {
            *place = place.get(*key).filter(|member| !member.is_null())?;
            Some(())
        })
        .count()
}

/// RFC 6901 escapes `~` as `~0` and `/` as `~1`; `Token` sees to it.
fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

fn add(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value })
}

fn replace(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation { path, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(document: Value, edit: impl FnOnce(&mut Draft)) -> Value {
        let mut draft = Draft::of(&document);
        edit(&mut draft);
        let expected = draft.document.clone();
        let patch = draft.into_patch();
        let mut patched = document;
        json_patch::patch(&mut patched, &patch).expect("the patch fits its document");
        assert_eq!(patched, expected, "the draft keeps up with its patch");
        serde_json::to_value(patch).expect("a patch is JSON")
    }

    #[test]
    fn keys_are_escaped() {
        let patch = drafted(json!({"a": {}}), |draft| {
            draft.set(&["a", "b/c~d"], json!(1))
        });
        assert_eq!(
            patch,
            json!([{"op": "add", "path": "/a/b~1c~0d", "value": 1}])
        );
    }

    #[test]
    fn parents_come_along_only_where_they_are_missing() {
        for (document, patch) in [
            (
                json!({}),
                json!([{"op": "add", "path": "/a", "value": {"b": {"c": 1}}}]),
            ),
            (
                json!({"a": null}),
                json!([{"op": "add", "path": "/a", "value": {"b": {"c": 1}}}]),
            ),
            (
                json!({"a": {}}),
                json!([{"op": "add", "path": "/a/b", "value": {"c": 1}}]),
            ),
            (
                json!({"a": {"b": {}}}),
                json!([{"op": "add", "path": "/a/b/c", "value": 1}]),
            ),
            (
                json!({"a": {"b": {"c": 2}}}),
                json!([{"op": "replace", "path": "/a/b/c", "value": 1}]),
            ),
            (json!({"a": {"b": {"c": 1}}}), json!([])),
        ] {
            assert_eq!(
                drafted(document, |draft| draft.set(&["a", "b", "c"], json!(1))),
                patch
            );
        }
    }

    #[test]
    fn members_are_put_and_removed_where_they_are() {
        let at = |path: &str| PointerBuf::parse(path).expect("it is a pointer");
        let document = json!({"l": [{"a": 1, "b": 2, "c": 3}]});
        let patch = drafted(document, |draft| {
            draft.remove(at("/l/0/a"));
            draft.put(at("/l/0/b"), json!(2));
            draft.put(at("/l/0/c"), json!(4));
            draft.put(at("/l/0/d"), json!(5));
        });
        assert_eq!(
            patch,
            json!([
                {"op": "remove", "path": "/l/0/a"},
                {"op": "replace", "path": "/l/0/c", "value": 4},
                {"op": "add", "path": "/l/0/d", "value": 5},
            ])
        );
    }

    #[test]
    fn items_go_into_a_list_one_by_one() {
        let items = || vec![json!("x"), json!("y")];
        let patch = drafted(json!({"l": ["z"]}), |draft| {
            draft.insert(&["l"], 0, items())
        });
        assert_eq!(
            patch,
            json!([
                {"op": "add", "path": "/l/0", "value": "x"},
                {"op": "add", "path": "/l/1", "value": "y"},
            ])
        );
        let patch = drafted(json!({"l": null}), |draft| draft.insert(&["l"], 0, items()));
        assert_eq!(
            patch,
            json!([{"op": "add", "path": "/l", "value": ["x", "y"]}])
        );
    }

    #[test]
    fn what_an_addition_makes_an_end_of_is_remembered() {
        let set = |document: Value, path: &[&str]| {
            let mut draft = Draft::of(&document);
            draft.set(path, json!(1));
            json!(draft.before())
        };
        let path = ["a", "b/c"];
        assert_eq!(set(json!({}), &path), json!({}));
        assert_eq!(set(json!({"a": {"x": 1}}), &path), json!({}));
        assert_eq!(set(json!({"a": {"b/c": 1}}), &path), json!({"/a/b~1c": 1}));
        assert_eq!(set(json!({"a": null}), &path), json!({"/a": null}));
        assert_eq!(set(json!({"a": {}}), &path), json!({"/a": {}}));
        assert_eq!(set(json!({"a": {"b/c": 2}}), &path), json!({"/a/b~1c": 2}));
        let long = "x".repeat(100_000);
        let kept = json!({"/a/b~1c": long});
        assert_eq!(set(json!({"a": {"b/c": long}}), &path), kept);

        let mut draft = Draft::of(&json!({"l": []}));
        draft.insert(&["l"], 0, vec![json!(1)]);
        draft.insert(&["l"], 0, vec![json!(2)]);
        assert_eq!(json!(draft.before()), json!({"/l": []}));
    }
}
