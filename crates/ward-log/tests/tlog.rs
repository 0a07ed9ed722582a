//! Cosignatures, proofs as text and requests to witnesses; read by signed_note and tlog_tiles, too.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, SigningKey};
use signed_note::{Note, StandardVerifier, Verifier as NoteVerifier, VerifierList};
use ward_log::{
    AddCheckpoint, Checkpoint, CheckpointError, Hash, KeyKind, SignedNote, TlogError, TlogProof,
    Tree, VerifierKey, WitnessKey, cosigned_at, inclusion_proof, leaf_hash, vkey,
};

const SEED: [u8; 32] = [3; 32];
const ORIGIN: &str = "db.example.org/audit/6f9619ff-8b86-d011-b42d-00cf4fc964ff";
const TIME: u64 = 1_790_000_000;

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size: 7,
        root: [0xA5; 32],
    }
}

fn witness() -> WitnessKey {
    WitnessKey::new("witness.example/w1", [4; 32].into()).unwrap()
}

fn cosigned() -> String {
    checkpoint().sign(&SEED).unwrap() + &witness().cosign(&checkpoint(), TIME).unwrap()
}

fn key(text: &str) -> VerifierKey {
    VerifierKey::parse(text).unwrap()
}

/// A witness's key, as signed_note would have one; written from C2SP tlog-cosignature.
struct Cosigner(ed25519_dalek::VerifyingKey, u32);

impl NoteVerifier for Cosigner {
    fn name(&self) -> &str {
        "witness.example/w1"
    }
    fn key_id(&self) -> u32 {
        self.1
    }
    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let (time, signature) = signature.split_at(8);
        let time = u64::from_be_bytes(time.try_into().unwrap());
        let mut message = format!("cosignature/v1\ntime {time}\n").into_bytes();
        message.extend_from_slice(text);
        let signature = Signature::from_slice(signature).unwrap();
        self.0.verify_strict(&message, &signature).is_ok()
    }
}

#[test]
fn a_cosigned_checkpoint_is_read_by_another_implementation() {
    let text = cosigned();
    let note = Note::from_bytes(text.as_bytes()).unwrap();
    let public = SigningKey::from_bytes(&[4; 32]).verifying_key();
    let typed = [&[4][..], public.as_bytes()].concat();
    let id = signed_note::key_id("witness.example/w1", &typed);
    let log = StandardVerifier::new(&vkey(ORIGIN, &SEED).unwrap()).unwrap();
    let keys = VerifierList::new(vec![Box::new(log), Box::new(Cosigner(public, id))]);
    let (known, unknown) = note.verify(&keys).unwrap();
    assert_eq!((known.len(), unknown.len()), (2, 0));
    assert_eq!(
        witness().vkey(),
        format!("witness.example/w1+{id:08x}+{}", STANDARD.encode(typed))
    );
}

#[test]
fn a_cosignature_is_verified_beside_the_logs_signature() {
    let text = cosigned();
    let note = SignedNote::parse(&text).unwrap();
    let log = key(&vkey(ORIGIN, &SEED).unwrap());
    let witness_key = key(&witness().vkey());
    assert_eq!(
        (log.kind(), witness_key.kind()),
        (KeyKind::Log, KeyKind::Witness)
    );
    assert_eq!(Checkpoint::open(&note, &log), Ok(checkpoint()));
    assert_eq!(cosigned_at(&note, &witness_key), Ok(TIME));
    assert_eq!(cosigned_at(&note, &log), Err(CheckpointError::WrongKeyKind));
    assert_eq!(
        Checkpoint::open(&note, &witness_key),
        Err(CheckpointError::WrongKeyKind)
    );
    let other = WitnessKey::new("witness.example/w1", [5; 32].into()).unwrap();
    assert_eq!(
        cosigned_at(&note, &key(&other.vkey())),
        Err(CheckpointError::NotSigned)
    );
}

#[test]
fn a_cosignature_moved_to_another_checkpoint_or_time_is_refused() {
    let line = witness().cosign(&checkpoint(), TIME).unwrap();
    let other = Checkpoint {
        size: 8,
        ..checkpoint()
    };
    let moved = other.sign(&SEED).unwrap() + &line;
    let witness_key = key(&witness().vkey());
    let note = SignedNote::parse(&moved).unwrap();
    assert_eq!(
        cosigned_at(&note, &witness_key),
        Err(CheckpointError::BadSignature)
    );
    let blob = line.trim_end().rsplit(' ').next().unwrap();
    let blob = STANDARD.decode(blob).unwrap();
    for at in 4..blob.len() {
        let mut bent = blob.clone();
        bent[at] ^= 0x80;
        let line = format!("\u{2014} witness.example/w1 {}\n", STANDARD.encode(bent));
        let text = checkpoint().sign(&SEED).unwrap() + &line;
        let note = SignedNote::parse(&text).unwrap();
        assert_eq!(
            cosigned_at(&note, &witness_key),
            Err(CheckpointError::BadSignature),
            "byte {at}"
        );
    }
    assert!(witness().cosign(&checkpoint(), 1 << 63).is_err());
}

#[test]
fn a_witness_key_reads_back_and_a_bad_one_is_refused() {
    let text = witness().to_text();
    let read = WitnessKey::parse(&text).unwrap();
    assert_eq!(read.vkey(), witness().vkey());
    for at in 0..text.len() {
        let mut bad = text.as_bytes().to_vec();
        bad[at] ^= 1;
        let bad = String::from_utf8(bad).unwrap();
        assert!(WitnessKey::parse(&bad).is_err(), "byte {at}");
    }
    assert!(WitnessKey::parse("").is_err());
    assert!(WitnessKey::parse(&witness().vkey()).is_err());
    assert!(WitnessKey::new("a b", [4; 32].into()).is_err());
}

fn proof() -> TlogProof {
    let mut tree = Tree::new();
    (0..7u8).for_each(|leaf| tree.append(leaf_hash(&[leaf])));
    let tiles = tree.take_dirty();
    let proof = inclusion_proof(5, 7, |_, _| Some(tiles[0].hashes.clone())).unwrap();
    let checkpoint = Checkpoint {
        root: tree.root(),
        ..checkpoint()
    };
    TlogProof {
        extra: Some(vec![5]),
        index: 5,
        proof,
        checkpoint: checkpoint.sign(&SEED).unwrap(),
    }
}

#[test]
fn another_implementation_accepts_a_proof_as_text() {
    // read by hand from C2SP tlog-proof, verified by signed_note and tlog_tiles
    let text = proof().to_text();
    let (head, checkpoint) = text.split_once("\n\n").unwrap();
    let mut lines = head.split('\n');
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    assert_eq!(lines.next(), Some("extra BQ=="));
    assert_eq!(lines.next(), Some("index 5"));
    let path: Vec<_> = lines
        .map(|line| tlog_tiles::tlog::Hash::parse_hash(line).unwrap())
        .collect();
    assert_eq!(path.len(), 3);
    let note = Note::from_bytes(checkpoint.as_bytes()).unwrap();
    let log = StandardVerifier::new(&vkey(ORIGIN, &SEED).unwrap()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(log)]))
        .unwrap();
    let head = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let leaf = tlog_tiles::tlog::record_hash(&[5]);
    let (size, root) = (head.size(), *head.hash());
    assert!(tlog_tiles::tlog::check_record(&path, size, root, 5, leaf).is_ok());
}

#[test]
fn proofs_and_requests_read_back() {
    for extra in [None, Some(vec![]), Some(vec![0xFF; 1000])] {
        for count in [0, 1, 63] {
            let proof = TlogProof {
                extra: extra.clone(),
                proof: vec![[7; 32]; count],
                ..proof()
            };
            assert_eq!(TlogProof::parse(&proof.to_text()), Ok(proof));
        }
    }
    let request = AddCheckpoint {
        old_size: 0,
        proof: vec![],
        checkpoint: checkpoint().sign(&SEED).unwrap(),
    };
    assert_eq!(AddCheckpoint::parse(&request.to_text()), Ok(request));
}

#[test]
fn a_text_that_is_no_proof_is_refused() {
    let hash = STANDARD.encode::<Hash>([1; 32]);
    let many = format!("{hash}\n").repeat(64);
    let long = format!("c2sp.org/tlog-proof@v1\nindex 0\n{many}\nx");
    for (text, expected) in [
        ("", TlogError::NotAProof),
        ("c2sp.org/tlog-proof@v2\nindex 0\n\nx", TlogError::NotAProof),
        ("c2sp.org/tlog-proof@v1\n", TlogError::BadNumber),
        (
            "c2sp.org/tlog-proof@v1\nindex 01\n\nx",
            TlogError::BadNumber,
        ),
        (
            "c2sp.org/tlog-proof@v1\nindex -1\n\nx",
            TlogError::BadNumber,
        ),
        ("c2sp.org/tlog-proof@v1\nindex \n\nx", TlogError::BadNumber),
        (
            "c2sp.org/tlog-proof@v1\nindex 18446744073709551616\n\nx",
            TlogError::BadNumber,
        ),
        (
            "c2sp.org/tlog-proof@v1\nextra %\nindex 0\n\nx",
            TlogError::BadExtra,
        ),
        (
            "c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\n\nx",
            TlogError::BadNumber,
        ),
        (
            "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx",
            TlogError::BadHash,
        ),
        ("c2sp.org/tlog-proof@v1\nindex 0\n", TlogError::NoCheckpoint),
        (
            "c2sp.org/tlog-proof@v1\nindex 0\n\n",
            TlogError::NoCheckpoint,
        ),
        (
            "c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\nx",
            TlogError::NotAProof,
        ),
        (&long, TlogError::TooManyHashes),
    ] {
        assert_eq!(TlogProof::parse(text), Err(expected), "{text}");
    }
    for (text, expected) in [
        ("", TlogError::NotARequest),
        ("old\n\nx", TlogError::NotARequest),
        ("old 00\n\nx", TlogError::BadNumber),
        ("old 3\nAA\n\nx", TlogError::BadHash),
        ("old 3\n", TlogError::NoCheckpoint),
    ] {
        assert_eq!(AddCheckpoint::parse(text), Err(expected), "{text}");
    }
}
