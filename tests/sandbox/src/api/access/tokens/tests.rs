use super::*;

fn cluster() -> (Store, Tokens, Value) {
    let store = Store::new(8);
    let key = Key::new(resources::core("serviceaccounts"), "shop", "robot");
    let account = json!({"metadata": {"namespace": "shop", "name": "robot", "uid": "u1"}});
    let account = store.create(&key, account).expect("the store is empty");
    (
        store,
        Tokens::generate().expect("a key"),
        Value::clone(&account),
    )
}

fn audience(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn refuses_what_is_no_token_of_ours() {
    let (store, tokens, account) = cluster();
    let (foreign, _) =
        Tokens::generate()
            .expect("a key")
            .issue(&account, &audience("a"), 600, &Bound::default());
    let (token, _) = tokens.issue(&account, &audience("a"), 600, &Bound::default());
    let unsigned = token
        .rsplit_once('.')
        .map(|(message, _)| format!("{message}."))
        .expect("three parts");
    for bad in ["", "garbage", "a.b.c", &foreign, &unsigned] {
        assert_eq!(
            tokens.check(&store, bad, &audience("a")).err().as_deref(),
            Some("invalid bearer token"),
            "{bad}"
        );
    }
}

#[test]
fn refuses_other_audiences_expired_tokens_and_those_of_the_dead() {
    let (store, tokens, account) = cluster();
    let why = |token: &str, for_whom: &str| {
        tokens
            .check(&store, token, &audience(for_whom))
            .expect_err("refused")
    };
    let (token, _) = tokens.issue(&account, &audience("netting"), 600, &Bound::default());
    assert!(
        why(&token, "other").contains(
            "token audiences [\"netting\"] is invalid for the target audiences [\"other\"]"
        )
    );
    let (expired, _) = tokens.issue(&account, &audience("a"), -60, &Bound::default());
    assert!(why(&expired, "a").contains("expired"));
    let bound = Bound {
        pod: Some(("p".into(), "gone".into())),
        node: None,
    };
    let (orphan, _) = tokens.issue(&account, &audience("a"), 600, &bound);
    assert!(why(&orphan, "a").contains("invalidated"));
}

#[test]
fn tells_who_the_bearer_is() {
    let (store, tokens, account) = cluster();
    let (token, _) = tokens.issue(&account, &audience("a"), 600, &Bound::default());
    let (user, audiences) = tokens.check(&store, &token, &audience("a")).expect("valid");
    assert_eq!(
        (user.name.as_str(), user.uid.as_str()),
        ("system:serviceaccount:shop:robot", "u1")
    );
    assert_eq!(audiences, audience("a"));
}
