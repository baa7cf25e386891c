//! curl as the client of an HTTP/1.1 server.

use crate::{
    harness::namespace::dst,
    message::Message,
    origin::Origin,
    pods::{Pods, SERVICE},
    process::{Ended, run_without},
};

/// What describes each connection, and the date, which a proxy has to add where it
/// is missing (RFC 9110, section 6.6.1).
const HOP_BY_HOP: [&str; 3] = ["connection:", "transfer-encoding:", "date:"];

/// What curl said, and what the server was asked.
#[derive(Debug, PartialEq)]
struct Outcome {
    curl: Ended,
    asked: Vec<Message>,
}

/// The words of each call are curl's arguments, `@/path` among them a URL.
fn same(calls: &[&str]) -> Vec<Outcome> {
    let pods = Pods::new();
    let origin = Origin::serve(pods.server.listen(dst("0.0.0.0", 80)));
    pods.same(calls, |pods, call| curl(pods, &origin, call))
}

fn curl(pods: &Pods, origin: &Origin, call: &str) -> Outcome {
    let mut command = pods.client_command("curl");
    command.args(["--silent", "--show-error", "--include", "--path-as-is"]);
    for word in call.split_whitespace() {
        command.arg(word.replace('@', &format!("http://{SERVICE}")));
    }
    let curl = run_without(&HOP_BY_HOP, &mut command);
    let asked = origin.take_requests().into_iter();
    Outcome {
        curl,
        asked: asked.map(Message::end_to_end).collect(),
    }
}

fn stdout_of(outcome: &Outcome) -> &str {
    assert_eq!(outcome.curl.code, Some(0), "{outcome:?}");
    &outcome.curl.stdout
}

#[test]
fn answers_without_a_body_have_none() {
    let outcomes = same(&[
        "--head @/length",
        "--head @/chunked",
        "@/no-content",
        "@/not-modified",
        // The next answer on the connection begins where it should.
        "@/no-content @/not-modified @/after --write-out %{num_connects}",
        "--head @/length @/length --write-out %{num_connects}",
    ]);
    assert!(stdout_of(&outcomes[0]).contains("Content-Length: 7"));
    assert!(stdout_of(&outcomes[2]).contains("X-Odd-CASE: kept"));
    assert!(stdout_of(&outcomes[4]).ends_with("/after0"));
}

#[test]
fn bodies_end_where_they_do_however_they_are_framed() {
    let outcomes = same(&[
        "@/length",
        "@/chunked",
        "@/trailers -H te:trailers",
        "@/until-the-end",
        "@/large",
        "@/chunked @/length @/chunked --write-out %{num_connects}",
        "@/until-the-end @/length",
        "@/closes @/length",
    ]);
    assert!(stdout_of(&outcomes[1]).ends_with("first, and more\n"));
    assert!(stdout_of(&outcomes[2]).contains("X-Checksum: abc"));
    assert!(stdout_of(&outcomes[3]).ends_with("all of it\n"));
    assert!(stdout_of(&outcomes[4]).starts_with("30000"));
    assert!(stdout_of(&outcomes[7]).ends_with("/length"));
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_whole() {
    let pods = Pods::new();
    let origin = Origin::serve(pods.server.listen(dst("0.0.0.0", 80)));
    let outcomes = pods.same(&["@/truncated", "@/truncated-chunks"], |pods, call| {
        let curl = curl(pods, &origin, call).curl;
        (curl.stdout, curl.code)
    });
    for (stdout, code) in outcomes {
        // "Partial file".
        assert_eq!(code, Some(18), "{stdout}");
        assert!(stdout.ends_with("only this"), "{stdout}");
    }
}

#[test]
fn statuses_and_headers_are_the_applications_own() {
    let outcomes = same(&[
        "@/odd-status",
        "@/error",
        "@/early-hints",
        "@/twice-set",
        "@/large-headers",
    ]);
    assert!(stdout_of(&outcomes[0]).starts_with("HTTP/1.1 299 Rather Fine, Thanks"));
    assert!(stdout_of(&outcomes[1]).contains("Retry-After: 7"));
    assert!(stdout_of(&outcomes[2]).starts_with("HTTP/1.1 103 Early Hints"));
    assert!(stdout_of(&outcomes[3]).contains("set-cookie: c=2"));
}

#[test]
fn requests_arrive_as_they_were_sent() {
    let large = format!("@/large-request-header -H X-Large:{}", "v".repeat(12_000));
    let outcomes = same(&[
        "@/a -H x-MiXeD-cAsE:kept -H X-Twice:one -H X-Twice:two -H X-Empty; -H Accept:",
        "@/a/./b/../c//d%2F?q=%20&q=[]{}|^ --globoff",
        "@/form --data a=b&c=d",
        "@/delete --request DELETE",
        "@/dav --request PROPFIND -H Depth:1",
        "@/custom --request FROBNICATE --data x",
        "@/get-with-body --request GET --data body",
        "@ --request OPTIONS --request-target *",
        "@/host -H Host:example.test",
        "@/auth --user name:password --cookie k=v --referer http://elsewhere.test/",
        "@/forwarded -H X-Forwarded-For:1.2.3.4 -H Forwarded:for=1.2.3.4 -H Via:1.1.other",
        "@/trace -H traceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "http://elsewhere.test/absolute --proxy @:80",
        &large,
    ]);
    let asked = &outcomes[0].asked[0];
    for line in ["x-MiXeD-cAsE: kept", "X-Twice: two", "X-Empty: "] {
        let has = asked.headers.iter().any(|header| header == line);
        assert!(has, "{line}: {asked:?}");
    }
    let start = |at: usize| outcomes[at].asked[0].start.as_str();
    assert_eq!(start(1), "GET /a/./b/../c//d%2F?q=%20&q=[]{}|^ HTTP/1.1");
    assert_eq!(start(7), "OPTIONS * HTTP/1.1");
    assert_eq!(start(12), "GET http://elsewhere.test/absolute HTTP/1.1");
}

#[test]
fn uploads_arrive_whole_whether_or_not_they_wait_for_a_continue() {
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), "0123456789".repeat(200_000)).expect("it can be written");
    let file = file.path().to_str().expect("its name is text");
    let outcomes = same(&[
        &format!("@/waits --upload-file {file} -H Expect:100-continue"),
        &format!("@/does-not-wait --upload-file {file} -H Expect:"),
        &format!("@/chunked-upload --upload-file {file} -H Transfer-Encoding:chunked"),
        &format!("@/refuses-to-continue --upload-file {file} -H Expect:100-continue"),
    ]);
    for outcome in &outcomes[..3] {
        assert!(stdout_of(outcome).contains("HTTP/1.1 200 OK"));
        assert!(outcome.asked[0].body.starts_with("2000000 bytes "));
    }
    assert!(stdout_of(&outcomes[0]).starts_with("HTTP/1.1 100 Continue"));
    assert!(stdout_of(&outcomes[3]).starts_with("HTTP/1.1 417"));
}

#[test]
fn old_clients_and_old_servers_are_served() {
    let outcomes = same(&[
        "--http1.0 @/length",
        "--http1.0 @/until-the-end",
        "--http1.0 -H Connection:keep-alive @/length @/length",
        "-H Connection:close @/length @/length --write-out %{num_connects}",
    ]);
    assert!(stdout_of(&outcomes[0]).ends_with("/length"));
    assert!(stdout_of(&outcomes[3]).ends_with("/length1"));
    let outcomes = same(&["--http0.9 @/http10", "--http1.0 @/http10"]);
    assert!(stdout_of(&outcomes[0]).ends_with("old\n"));
}
