//! The test vectors of `docs/envelope-format.md`, and the example that stands beside it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ward_crypto::{
    Decryptor, Encryptor, Envelope, FieldPath, MIN_ITERATIONS, MasterKey, PASSWORD_OVERHEAD,
    PasswordEncryptor, PasswordEnvelope, PasswordKey, PasswordParams, SecretKey, ValueType,
    WrapContext, blind_index, registry_mac, unwrap_key, wrap_key,
};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

type Vector = HashMap<String, String>;

/// The `name: value` lines of each fenced block that has a line called `name`.
fn vectors_with(name: &str) -> Vec<Vector> {
    let document = std::fs::read_to_string(docs().join("envelope-format.md")).unwrap();
    let blocks = document.split("```text\n").skip(1);
    let vectors = blocks.map(|block| {
        let (block, _) = block.split_once("```").unwrap();
        let lines = block.lines().map(|line| line.split_once(": ").unwrap());
        lines.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    });
    vectors
        .filter(|vector: &Vector| vector.contains_key(name))
        .collect()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    match hexadecimal {
        "empty" => Vec::new(),
        hexadecimal => hex::decode(hexadecimal).unwrap(),
    }
}

fn array<const N: usize>(hexadecimal: &str) -> [u8; N] {
    bytes(hexadecimal).try_into().unwrap()
}

#[test]
fn frozen_envelopes() {
    let vectors = vectors_with("envelope");
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let key = SecretKey::new(array(&vector["key"]));
        let value_type = match &*vector["type"] {
            "1" => ValueType::Text,
            "2" => ValueType::Bytea,
            "3" => ValueType::Jsonb,
            other => panic!("type {other}"),
        };
        let aad = (vector["aad"] != "none").then(|| bytes(&vector["aad"]));
        let plaintext = bytes(&vector["plaintext"]);
        let nonce: [u8; 24] = array(&vector["nonce"]);
        let (prefix, start) = nonce.split_at(12);

        let mut out = Vec::new();
        Encryptor::new(&key, prefix.try_into().unwrap(), start.try_into().unwrap())
            .seal_into(value_type, &plaintext, aad.as_deref(), &mut out)
            .unwrap();
        assert_eq!(hex::encode(&out), vector["envelope"]);
        let envelope = Envelope::parse(&out).unwrap();
        let opened = Decryptor::new(&key).open(&envelope, aad.as_deref());
        assert_eq!(*opened.unwrap(), plaintext);
    }
}

fn password_key(password: &[u8], params: PasswordParams) -> PasswordKey {
    let Ok(key) = PasswordKey::derive(password, params, || Ok::<_, std::convert::Infallible>(()));
    key
}

#[test]
fn frozen_envelopes_under_a_password() {
    let vectors = vectors_with("password envelope");
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let password = bytes(&vector["password"]);
        let iterations = vector["iterations"].parse().unwrap();
        let params = PasswordParams::new(iterations, array(&vector["salt"])).unwrap();
        let nonce: [u8; 24] = array(&vector["nonce"]);
        let (prefix, start) = nonce.split_at(12);
        let aad = (vector["aad"] != "none").then(|| bytes(&vector["aad"]));
        let plaintext = bytes(&vector["plaintext"]);

        let mut out = vec![0; plaintext.len() + PASSWORD_OVERHEAD];
        let mut encryptor = PasswordEncryptor::new(
            password_key(&password, params),
            prefix.try_into().unwrap(),
            start.try_into().unwrap(),
        );
        encryptor
            .seal_to(ValueType::Text, &plaintext, aad.as_deref(), &mut out)
            .unwrap();
        assert_eq!(hex::encode(&out), vector["password envelope"]);
        let envelope = PasswordEnvelope::parse(&out).unwrap();
        let opened = encryptor.key().open(&envelope, aad.as_deref());
        assert_eq!(*opened.unwrap(), plaintext);
    }
}

#[test]
fn frozen_bindings_of_fields() {
    let vectors = vectors_with("field aad");
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let aad = (vector["field aad"] != "none").then(|| bytes(&vector["field aad"]));
        let path = FieldPath::parse(&vector["path"]).unwrap();
        assert_eq!(
            hex::encode(path.binding(aad.as_deref()).unwrap()),
            vector["bound"]
        );
    }
}

#[test]
fn frozen_blind_indexes() {
    let vectors = vectors_with("index");
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let key = SecretKey::new(array(&vector["search key"]));
        let values: Vec<Vec<u8>> = match &*vector["values"] {
            "none" => Vec::new(),
            values => values.split(", ").map(bytes).collect(),
        };
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let bits = vector["bits"].parse().unwrap();
        let index = blind_index(&key, &bytes(&vector["domain"]), bits, &values);
        assert_eq!(hex::encode(index.unwrap()), vector["index"]);
    }
}

#[test]
fn frozen_wrapped_key() {
    let vectors = vectors_with("wrapped");
    assert_eq!(vectors.len(), 1);
    for vector in vectors {
        let master = MasterKey::new(SecretKey::new(array(&vector["master"])));
        assert_eq!(hex::encode(master.id()), vector["master id"]);
        assert_eq!(hex::encode(master.kek().expose()), vector["kek"]);
        let context = WrapContext {
            key: array(&vector["uuid"]),
            version: vector["version"].parse().unwrap(),
            purpose: &vector["purpose"],
        };
        let material = SecretKey::new(array(&vector["material"]));
        let wrapped = wrap_key(&master, &context, &material, array(&vector["nonce"])).unwrap();
        assert_eq!(hex::encode(&wrapped), vector["wrapped"]);
        let unwrapped = unwrap_key(&[master], &context, &wrapped).ok().unwrap();
        assert_eq!(unwrapped.expose(), material.expose());
    }
}

#[test]
fn frozen_registry_mac() {
    let vectors = vectors_with("mac");
    assert_eq!(vectors.len(), 1);
    for vector in vectors {
        let master = MasterKey::new(SecretKey::new(array(&vector["master"])));
        let registry_key = master.registry_mac_key();
        assert_eq!(hex::encode(registry_key.expose()), vector["registry key"]);
        let fields: Vec<Vec<u8>> = vector["fields"].split(", ").map(bytes).collect();
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let mac = registry_mac(&master, &vector["label"], &fields);
        assert_eq!(hex::encode(mac), vector["mac"]);
    }
}

#[test]
fn the_python_example_opens_what_we_seal() {
    // Fresh on every run, so that no fixed output can satisfy this test.
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
        .to_be_bytes();
    let material: [u8; 32] = [seed, seed].concat().try_into().unwrap();
    let plaintext = format!("IBAN DE02 1203 0000 0000 2020 51, {}", hex::encode(seed));
    let key = SecretKey::new(material);
    let nonce_half = seed[4..].try_into().unwrap();
    let mut encryptor = Encryptor::new(&key, nonce_half, nonce_half);

    for aad in [None, Some(""), Some("invoices.iban/4711")] {
        let mut envelope = Vec::new();
        let aad_bytes = aad.map(str::as_bytes);
        encryptor
            .seal_into(
                ValueType::Text,
                plaintext.as_bytes(),
                aad_bytes,
                &mut envelope,
            )
            .unwrap();
        let output = run_example(&material, &envelope, aad);
        assert!(
            output.status.success(),
            "the example failed; it needs the Python package cryptography \
             (Debian: apt-get install python3-cryptography):\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.stdout, plaintext.as_bytes(), "{aad:?}");

        for wrong in [None, Some(""), Some("another place")] {
            if wrong != aad {
                assert_refused(&run_example(&material, &envelope, wrong));
            }
        }
        let last = envelope.len() - 1;
        envelope[last] ^= 1;
        assert_refused(&run_example(&material, &envelope, aad));
    }
}

#[test]
fn the_python_example_opens_what_a_password_seals() {
    // Fresh on every run, so that no fixed output can satisfy this test.
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
        .to_be_bytes();
    let password = format!("Grüße {}", hex::encode(seed));
    let params = PasswordParams::new(MIN_ITERATIONS + 1, seed).unwrap();
    let key = password_key(password.as_bytes(), params);
    let nonce_half = seed[4..].try_into().unwrap();
    let mut encryptor = PasswordEncryptor::new(key, nonce_half, nonce_half);
    let mut envelope = vec![0; 5 + PASSWORD_OVERHEAD];
    encryptor
        .seal_to(ValueType::Text, b"value", Some(b"row 1"), &mut envelope)
        .unwrap();

    let run = |password: &str, envelope: &[u8], aad| {
        run_script("open_password_envelope.py", password, envelope, Some(aad))
    };
    let output = run(&password, &envelope, "row 1");
    assert_eq!(output.stdout, b"value", "{output:?}");
    assert_refused(&run(&password, &envelope, "row 2"));
    let wrong = run("another password", &envelope, "row 1");
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(wrong.stdout, b"");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("wrong password"));
}

fn run_example(key: &[u8; 32], envelope: &[u8], aad: Option<&str>) -> Output {
    run_script("open_envelope.py", &hex::encode(key), envelope, aad)
}

fn run_script(script: &str, secret: &str, envelope: &[u8], aad: Option<&str>) -> Output {
    Command::new("python3")
        .arg("-B")
        .arg(docs().join("examples").join(script))
        .args([secret, &hex::encode(envelope)])
        .args(aad)
        .output()
        .unwrap_or_else(|error| {
            panic!("python3 does not run: {error} (Debian: apt-get install python3)")
        })
}

fn assert_refused(output: &Output) {
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("authentication failed"), "{message}");
}
