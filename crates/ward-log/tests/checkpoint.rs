//! Checkpoints, also as read by the independent crates signed_note and tlog_tiles.

use signed_note::{Note, StandardVerifier, VerifierList};
use ward_log::{Checkpoint, CheckpointError, vkey};

const SEED: [u8; 32] = [3; 32];
const ORIGIN: &str = "db.example.org/audit/6f9619ff-8b86-d011-b42d-00cf4fc964ff";

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size: 1_234_567,
        root: [0xA5; 32],
    }
}

fn key() -> String {
    vkey(ORIGIN, &SEED).unwrap()
}

#[test]
fn reads_back() {
    let note = checkpoint().sign(&SEED).unwrap();
    assert_eq!(Checkpoint::verify(&note, &key()), Ok(checkpoint()));
}

#[test]
fn other_implementations_read_it() {
    let text = checkpoint().sign(&SEED).unwrap();
    let note = Note::from_bytes(text.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key()).unwrap();
    let (ours, others) = note
        .verify(&VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!((ours.len(), others.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(read.origin(), ORIGIN);
    assert_eq!((read.size(), read.hash().0), (1_234_567, [0xA5; 32]));
    assert_eq!(read.extension(), "");
}

#[test]
fn any_flipped_byte_is_refused() {
    let note = checkpoint().sign(&SEED).unwrap();
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1 << (at % 3);
        if let Ok(text) = String::from_utf8(bytes) {
            assert!(Checkpoint::verify(&text, &key()).is_err(), "byte {at}");
        }
    }
}

#[test]
fn any_cut_is_refused() {
    let note = checkpoint().sign(&SEED).unwrap();
    for cut in (0..note.len()).filter(|cut| note.is_char_boundary(*cut)) {
        assert!(
            Checkpoint::verify(&note[..cut], &key()).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn cosignatures_are_left_alone() {
    let note = checkpoint().sign(&SEED).unwrap();
    let other = "\u{2014} witness.example.org AAAAAQIDBAUGBwg=\n";
    let cosigned = format!("{note}{other}");
    assert_eq!(Checkpoint::verify(&cosigned, &key()), Ok(checkpoint()));
    let (text, signature) = note.split_once("\n\n").unwrap();
    let first = format!("{text}\n\n{other}{signature}");
    assert_eq!(Checkpoint::verify(&first, &key()), Ok(checkpoint()));
    let only = format!("{text}\n\n{other}");
    assert_eq!(
        Checkpoint::verify(&only, &key()),
        Err(CheckpointError::NotSigned)
    );
}

#[test]
fn another_key_or_origin_is_refused() {
    let note = checkpoint().sign(&SEED).unwrap();
    let other_key = vkey(ORIGIN, &[4; 32]).unwrap();
    assert_eq!(
        Checkpoint::verify(&note, &other_key),
        Err(CheckpointError::NotSigned)
    );
    let other_name = vkey("db.example.org/other", &SEED).unwrap();
    assert_eq!(
        Checkpoint::verify(&note, &other_name),
        Err(CheckpointError::NotSigned)
    );
}

/// Signs any text as a note, with the key of the tests.
fn signed(text: &str) -> String {
    use signed_note::{Signer, StandardSigner};
    // the private form of a key: the same without "PRIVATE+KEY+" and with the seed
    let hash = key().split('+').nth(1).unwrap().to_owned();
    let mut typed = vec![1];
    typed.extend_from_slice(&SEED);
    use base64::Engine;
    let seed = base64::engine::general_purpose::STANDARD.encode(typed);
    let signer = StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{hash}+{seed}")).unwrap();
    let mut note = Note::new(text.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer as &dyn Signer]).unwrap();
    String::from_utf8(note.to_bytes()).unwrap()
}

#[test]
fn only_the_three_lines_are_a_checkpoint() {
    let root = "paWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaU=";
    let good = format!("{ORIGIN}\n1234567\n{root}\n");
    // byte for byte what we sign: two implementations agree
    assert_eq!(signed(&good), checkpoint().sign(&SEED).unwrap());
    for (text, expected) in [
        (
            format!("{ORIGIN}\n01234567\n{root}\n"),
            CheckpointError::NotACheckpoint,
        ),
        (
            format!("{ORIGIN}\n+1234567\n{root}\n"),
            CheckpointError::NotACheckpoint,
        ),
        (
            format!("{ORIGIN}\n99999999999999999999\n{root}\n"),
            CheckpointError::NotACheckpoint,
        ),
        (
            format!("{ORIGIN}\n\n{root}\n"),
            CheckpointError::NotACheckpoint,
        ),
        (
            format!("{ORIGIN}\n1\npaU=\n"),
            CheckpointError::NotACheckpoint,
        ),
        (
            format!("{ORIGIN}\n1\n{root}\nextension\n"),
            CheckpointError::NotACheckpoint,
        ),
        (format!("{ORIGIN}\n1\n"), CheckpointError::NotACheckpoint),
        (format!("other\n1\n{root}\n"), CheckpointError::OtherOrigin),
    ] {
        assert_eq!(
            Checkpoint::verify(&signed(&text), &key()),
            Err(expected),
            "{text}"
        );
    }
}

#[test]
fn a_bad_origin_or_key_is_refused() {
    for origin in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{7f}b"] {
        let checkpoint = Checkpoint {
            origin: origin.into(),
            ..checkpoint()
        };
        assert_eq!(checkpoint.sign(&SEED), Err(CheckpointError::BadOrigin));
        assert_eq!(vkey(origin, &SEED), Err(CheckpointError::BadOrigin));
    }
    let note = checkpoint().sign(&SEED).unwrap();
    let good = key();
    for at in 0..good.len() {
        let mut bad = good.clone().into_bytes();
        bad[at] ^= 1;
        let bad = String::from_utf8(bad).unwrap();
        assert!(Checkpoint::verify(&note, &bad).is_err(), "byte {at}");
    }
}
