use serde_json::json;

use super::*;
use crate::api::resources;

fn key(name: &str) -> Key {
    Key::new(resources::core("configmaps"), "shop", name)
}

fn config_map(name: &str, data: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "data": {"a": data}})
}

#[test]
fn refuses_a_second_object_of_the_same_name() {
    let store = Store::new(8);
    store.create(&key("a"), config_map("a", "1")).expect("new");
    assert_eq!(
        store.create(&key("a"), config_map("a", "2")).err(),
        Some(Refused::Exists)
    );
}

#[test]
fn refuses_to_replace_another_version_than_the_one_seen() {
    let store = Store::new(8);
    store.create(&key("a"), config_map("a", "1")).expect("new");
    let stale = store.replace(&key("a"), "1", config_map("a", "2"));
    assert_eq!(stale.err(), Some(Refused::Stale));
    let missing = store.replace(&key("b"), "1", config_map("b", "2"));
    assert_eq!(missing.err(), Some(Refused::Missing));
}

#[test]
fn what_changes_nothing_makes_no_event() {
    let store = Store::new(8);
    let first = store.create(&key("a"), config_map("a", "1")).expect("new");
    let again = store.replace(&key("a"), first.revision(), config_map("a", "1"));
    assert_eq!(again.expect("same").revision(), first.revision());
    let (_, changes) = store.changes(key("a").resource, 0).expect("remembered");
    assert_eq!(changes.len(), 1);
}

#[test]
fn the_history_tells_when_it_forgot() {
    let store = Store::new(2);
    for name in ["a", "b", "c"] {
        store
            .create(&key(name), config_map(name, "1"))
            .expect("new");
    }
    let resource = key("a").resource;
    assert_eq!(
        store.changes(resource, 1).err(),
        Some(Forgotten { oldest: 2 })
    );
    let (latest, changes) = store.changes(resource, 2).expect("remembered");
    assert_eq!((latest, changes.len()), (4, 2));
}

#[test]
fn removal_is_a_change_with_a_version_of_its_own() {
    let store = Store::new(8);
    let made = store.create(&key("a"), config_map("a", "1")).expect("new");
    let gone = store.remove(&key("a"), made.revision()).expect("there");
    assert_ne!(made.revision(), gone.revision());
    assert!(store.get(&key("a")).is_none());
    let (_, changes) = store.changes(key("a").resource, 0).expect("remembered");
    assert_eq!(
        changes.iter().map(|change| change.kind).collect::<Vec<_>>(),
        [ChangeKind::Added, ChangeKind::Deleted]
    );
}

#[test]
fn earlier_states_are_told_as_they_were() {
    let store = Store::new(4);
    let resource = key("a").resource;
    let names = |revision| -> Vec<String> {
        let objects = store.list_at(resource, Some("shop"), revision);
        let named = |object: &Arc<Value>| format!("{}={}", object.name(), object["data"]["a"]);
        let objects = objects.expect("remembered");
        objects.iter().map(named).collect()
    };
    let a = store.create(&key("a"), config_map("a", "1")).expect("new");
    let b = store.create(&key("b"), config_map("b", "1")).expect("new");
    let changed = store.replace(&key("a"), a.revision(), config_map("a", "2"));
    store.remove(&key("b"), b.revision()).expect("there");
    assert_eq!(names(5), [r#"a="2""#]);
    assert_eq!(names(3), [r#"a="1""#, r#"b="1""#]);
    assert_eq!(names(2), [r#"a="1""#]);
    assert_eq!(changed.expect("there").revision(), "4");
    store.create(&key("c"), config_map("c", "1")).expect("new");
    let forgotten = store.list_at(resource, Some("shop"), 1);
    assert_eq!(forgotten.err(), Some(Forgotten { oldest: 2 }));
}
