//! What is left of a line.

use super::*;

fn becomes(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(text(line), *expected, "{line}");
        assert_eq!(text(expected), *expected, "a second time: {line}");
    }
}

#[test]
fn what_is_no_credential_stays() {
    for line in [
        "image netting:0.1.0@sha256:00ff",
        "docker-pullable://registry.example.org/app@sha256:00ff",
        "to [fd00::1]:80 took 5ms, key: web",
        "no token was given: 2026-11-22T15:51:56Z",
        "netting_webhook::token::parse: refused",
        "GET https://registry.example.org:5000/v2/ 404",
        "git@github.com:netting-dev/netting is no URL",
        "not eyJ.x",
        "token=\"\" password= ",
        "otlp=http://c:4317;token=$(secret:otel/token);header.a=$(secret:otel/a),prometheus",
    ] {
        assert_eq!(text(line), line);
    }
}

#[test]
fn userinfo_goes_up_to_its_last_at_sign_whatever_is_in_it() {
    becomes(&[
        (
            "db=postgres://me:hunter2@db:5432/shop",
            "db=postgres://<redacted>@db:5432/shop",
        ),
        (
            "cannot connect to postgres://me:p%40ss-hunter2@db:5432/shop: refused",
            "cannot connect to postgres://<redacted>@db:5432/shop: refused",
        ),
        ("redis://:hun!ter2@db", "redis://<redacted>@db"),
        ("amqp://me:hunt@er2@db/", "amqp://<redacted>@db/"),
        ("mongodb://me:h/un?te#r2@db/", "mongodb://<redacted>@db/"),
        (
            "https://ghp_hunter2@github.com",
            "https://<redacted>@github.com",
        ),
        (
            "{\"url\":\"http://me:$hunter'2@db\",\"a\":1}",
            "{\"url\":\"http://<redacted>@db\",\"a\":1}",
        ),
        (
            "me:hun!ter2@tcp(db:3306)/shop",
            "<redacted>@tcp(db:3306)/shop",
        ),
        ("\"me@server:hunter2@db\"", "\"me@<redacted>@db\""),
        (
            "me:hunter2@registry/app@sha256:00ff",
            "<redacted>@registry/app@sha256:00ff",
        ),
    ]);
}

#[test]
fn what_is_assigned_to_a_telling_name_goes_whole() {
    becomes(&[
        ("password: P@ssw0rd!", "password: <redacted>"),
        (
            "PASSWORD=hunter2!secretrest next",
            "PASSWORD=<redacted> next",
        ),
        ("DB_PASS=$hunter,2;a&b", "DB_PASS=<redacted>"),
        ("x-api-key: hunter2", "x-api-key: <redacted>"),
        ("{\"apiKey\":\"hunter2\"}", "{\"apiKey\":\"<redacted>\"}"),
        (
            "access-key: hunter2, private_key: hunter2",
            "access-key: <redacted>, private_key: <redacted>",
        ),
        (
            "AccountKey=hunter2==;EndpointSuffix=core",
            "AccountKey=<redacted>;EndpointSuffix=core",
        ),
        ("client_secret: hunter2", "client_secret: <redacted>"),
        (
            "token = hunter2, user = me",
            "token = <redacted>, user = me",
        ),
        (
            "[\"PASSWORD=hunter2\",\"B=c\"]",
            "[\"PASSWORD=<redacted>\",\"B=c\"]",
        ),
        ("password: Some(\"hunter2\")", "password: <redacted>\")"),
        ("params[password]=hunter2", "params[password]=<redacted>"),
        (
            "GET /a?X-Amz-Signature=hunter2&b=1",
            "GET /a?X-Amz-Signature=<redacted>&b=1",
        ),
        ("GET /a?sv=1&sig=hunter2", "GET /a?sv=1&sig=<redacted>"),
        (
            "otlp=http://c:4317;token=abc;header.authorization=Basic YWJj,prometheus",
            "otlp=http://c:4317;token=<redacted>;header.authorization=<redacted>",
        ),
    ]);
}

#[test]
fn a_value_in_quotes_goes_up_to_the_quote_that_closes_it() {
    becomes(&[
        (
            "{\"password\":\"hunter2\",\"user\":\"me\"}",
            "{\"password\":\"<redacted>\",\"user\":\"me\"}",
        ),
        (
            r#"{"password": "hun ter\"2\\", "user": "me"}"#,
            r#"{"password": "<redacted>", "user": "me"}"#,
        ),
        (
            r#""msg":"got {\"password\":\"hun\\\"ter 2\",\"a\":1}""#,
            r#""msg":"got {\"password\":\"<redacted>\",\"a\":1}""#,
        ),
        (
            "password: 'it''s hunter2' next",
            "password: '<redacted>' next",
        ),
        ("PASSWORD=\"hunter 2", "PASSWORD=\"<redacted>"),
        (
            "{\"tokens\":1,\"token\":[\"a\",{\"b\":\"c\"}],\"d\":2}",
            "{\"tokens\":1,\"token\":[<redacted>],\"d\":2}",
        ),
        (
            "map[X-Api-Key:[hunter 2] Accept:[a]]",
            "map[X-Api-Key:[<redacted>] Accept:[a]]",
        ),
        ("password: [hun]ter2", "password: <redacted>"),
    ]);
}

#[test]
fn credentials_of_http_go_with_their_scheme_or_without() {
    becomes(&[
        (
            "authorization: Bearer abc-123.DEF next",
            "authorization: <redacted> next",
        ),
        (
            "Authorization: Basic aHVudGVyMg== next",
            "Authorization: <redacted> next",
        ),
        ("Authorization: hunter2", "Authorization: <redacted>"),
        (
            "map[Authorization:[Bearer hunter2]]",
            "map[Authorization:[<redacted>]]",
        ),
        (
            "sent Bearer hunter2!, and then",
            "sent Bearer <redacted> and then",
        ),
        (
            "got eyJhbGciOi.eyJzdWIi.c2ln from 10.0.0.1:80",
            "got <redacted> from 10.0.0.1:80",
        ),
    ]);
}

#[test]
fn private_keys_go_with_their_lines() {
    let log = "before\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nafter\n\
               {\"key\":\"-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----\"}\nend";
    assert_eq!(text(log), "before\n<redacted>\nafter\n<redacted>\nend");
}
