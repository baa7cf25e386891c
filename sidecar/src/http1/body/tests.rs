use super::*;

/// All of it at once, and byte by byte: the same must come out.
fn read(bytes: &[u8]) -> Result<(usize, bool), BadChunk> {
    let mut whole = Body::CHUNKED;
    let taken = whole.take(bytes);
    let mut slow = Body::CHUNKED;
    let mut count = 0;
    let mut one_by_one = Ok(());
    for byte in bytes {
        match slow.take(&[*byte]) {
            Ok(taken) => count += taken,
            Err(bad) => {
                one_by_one = Err(bad);
                break;
            }
        }
    }
    assert_eq!(taken.is_err(), one_by_one.is_err(), "{bytes:?}");
    let taken = taken?;
    assert_eq!((taken, &whole), (count, &slow), "{bytes:?}");
    Ok((taken, whole.is_over()))
}

#[test]
fn refuses_chunks_that_leave_doubt() {
    let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(2000));
    let long_trailer = format!("0\r\na: {}\r\n\r\n", "x".repeat(20_000));
    for bytes in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "1\n",
        "1 2\r\n",
        "1\r\r\n",
        "11111111111111111\r\n",
        "00000000000000001\r\n",
        "ffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "1;a\nb\r\n",
        "1;a=\"b\r\na\r\n0\r\n\r\n",
        "1;a=\"b\\\"\r\na\r\n0\r\n\r\n",
        "1;\"\r\n\"\r\na\r\n0\r\n\r\n",
        "1\0\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r\r",
        "0\r\n\n",
        "0\r\nno-colon\r\n\r\n",
        "0\r\n: empty\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\na: b\n\r\n",
        "0\r\na: b\0\r\n\r\n",
        "0\r\na b: c\r\n\r\n",
        &long_extension,
        &long_trailer,
    ] {
        assert_eq!(read(bytes.as_bytes()), Err(BadChunk), "{bytes:?}");
    }
}

#[test]
fn finds_the_end() {
    for bytes in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "A\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "1;name=\"value\"\r\na\r\n0;last\r\n\r\n",
        "1;a=\"\\\"b\\\\\";c=\"\"\r\na\r\n0\r\n\r\n",
        "0\r\nGrpc-Status: 0\r\nempty:\r\n\r\n",
    ] {
        assert_eq!(read(bytes.as_bytes()), Ok((bytes.len(), true)), "{bytes:?}");
        let longer = format!("{bytes}GET");
        assert_eq!(read(longer.as_bytes()), Ok((bytes.len(), true)));
        let shorter = &bytes.as_bytes()[..bytes.len() - 1];
        assert_eq!(read(shorter), Ok((bytes.len() - 1, false)));
    }
}

#[test]
fn a_length_takes_no_more_than_its_own() {
    let mut body = Body::Length(5);
    assert_eq!(body.take(b"abc"), Ok(3));
    assert!(!body.is_over());
    assert_eq!(body.take(b"defg"), Ok(2));
    assert!(body.is_over());
    assert_eq!(body.take(b"g"), Ok(0));
}

#[test]
fn without_a_length_all_is_the_bodys() {
    let mut body = Body::UntilClose;
    assert_eq!(body.take(b"abc"), Ok(3));
    assert!(!body.is_over());
}
