//! Where fuzzing starts: one right input of each kind.

use ward_crypto::{
    ColumnType, Encryptor, PasswordEncryptor, PasswordKey, PasswordParams, ValueType, field_text,
};
use ward_log::{
    AddCheckpoint, AuditMac, Checkpoint, Column, ColumnKind, Context, ContextPlace, ContextSource,
    Cut, Details, EntryFrame, EraseLeaf, EventLeaf, ImageWriter, IncarnationLeaf, KeyChangeLeaf,
    Leaf, Operation, PruneLeaf, RestoreLeaf, RetentionLeaf, RowLeaf, SealLeaf, Severity, Shape,
    ShapeLeaf, Snapshot, TlogProof, Trailer, TransactionChain, ViolationKind, ViolationLeaf,
    WitnessKey, push_record,
};

use crate::crypto::{column_text, stored};
use crate::proof::Grown;

pub const ORIGIN: &str = "db.example.org/audit";
pub const SEED: [u8; 32] = [3; 32];

/// The checkpoint of the corpus.
pub fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size: 1_234_567,
        root: [0xA5; 32],
    }
}

/// When the checkpoint of the corpus was cosigned.
pub const COSIGNED_AT: u64 = 1_700_000_000;

/// The witness of the corpus.
pub fn witness() -> WitnessKey {
    WitnessKey::new("witness.example.org", [4; 32].into()).unwrap()
}

/// The checkpoint of the corpus, signed and cosigned.
pub fn cosigned() -> String {
    let note = checkpoint().sign(&SEED).unwrap();
    note + &witness().cosign(&checkpoint(), COSIGNED_AT).unwrap()
}

/// A proof for a leaf, a request to a witness, and how to change right ones.
fn proofs() -> Vec<Vec<u8>> {
    let (index, old) = (258, 17);
    let proof = TlogProof {
        extra: Some(crate::proof::leaf(index)),
        index,
        proof: Grown::with(|grown| grown.inclusion(index)),
        checkpoint: cosigned(),
    };
    let request = AddCheckpoint {
        old_size: old,
        proof: Grown::with(|grown| grown.consistency(old)),
        checkpoint: cosigned(),
    };
    let mut numbers = index.to_le_bytes().to_vec();
    numbers.extend_from_slice(&old.to_le_bytes());
    vec![
        proof.to_text().into_bytes(),
        request.to_text().into_bytes(),
        numbers,
    ]
}

/// A value of each column type, as bytes and as text.
fn column_values() -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for column in [ColumnType::EncryptedText, ColumnType::SecretText] {
        let value = stored(column, b"a value");
        values.extend([column_text(column, &value), value]);
    }
    values
}

/// The envelope of the corpus.
pub fn sealed() -> Vec<u8> {
    let mut sealed = Vec::new();
    Encryptor::new(&crate::crypto::key(), [9; 12], [9; 12])
        .seal_into(ValueType::Text, b"a value", None, &mut sealed)
        .unwrap();
    sealed
}

fn password_sealed() -> Vec<u8> {
    let params = PasswordParams::new(100_000, [5; 16]).unwrap();
    let Ok(key) = PasswordKey::derive(
        b"password",
        params,
        || Ok::<_, std::convert::Infallible>(()),
    );
    let mut sealed = vec![0; 97 + 7];
    PasswordEncryptor::new(key, [9; 12], [9; 12])
        .seal_to(ValueType::Text, b"a value", None, &mut sealed)
        .unwrap();
    sealed
}

/// Right inputs for a target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "envelope" => vec![sealed()],
        "password_envelope" => vec![password_sealed()],
        "master_key" => vec![
            "11".repeat(32).into_bytes(),
            b"EREREREREREREREREREREREREREREREREREREREREREREQ=\n\n".to_vec(),
        ],
        "field" => vec![
            b"items.*.card".to_vec(),
            br"a\.b.\*.\\".to_vec(),
            field_text(&sealed(), String::new()).into_bytes(),
        ],
        "log_leaf" => leaves(),
        "log_record" => {
            let mut records = Vec::new();
            for (leaf, image) in leaves().iter().zip(images().iter().cycle()) {
                push_record(&mut records, leaf, Some(image)).unwrap();
            }
            vec![records]
        }
        "log_image" => images(),
        "checkpoint" => vec![
            checkpoint().sign(&SEED).unwrap().into_bytes(),
            ward_log::vkey(ORIGIN, &SEED).unwrap().into_bytes(),
        ],
        "column_value" => column_values(),
        "cosignature" => vec![
            cosigned().into_bytes(),
            witness().vkey().into_bytes(),
            witness().to_text().as_bytes().to_vec(),
        ],
        "proof" => proofs(),
        "export" => {
            let mut records = vec![0; 2];
            for leaf in leaves() {
                push_record(&mut records, &leaf, None).unwrap();
            }
            let exports = images()
                .into_iter()
                .map(|image| crate::export::written(&leaves(), &image));
            exports.chain([records]).collect()
        }
        other => panic!("no target is called {other}"),
    }
}

/// Images with old values, new values and both, and every mark that may stand for a value.
fn images() -> Vec<Vec<u8>> {
    let old = |writer: &mut ImageWriter<'_>| {
        writer.begin_old();
        writer.value(1, b"old");
        writer.null(2);
        writer.redacted(3, false);
        writer.value_or_cut(4, |_| Some(Cut::WITHOUT_TEXT));
    };
    let new = |writer: &mut ImageWriter<'_>| {
        writer.begin_new();
        writer.value(1, b"new");
        writer.redacted(3, true);
        writer.value_or_cut(4, |_| Some(Cut::of(b"abc")));
        writer.value(5, b"");
    };
    let both = |writer: &mut ImageWriter<'_>| {
        old(writer);
        new(writer);
    };
    vec![image(both), image(old), image(new)]
}

fn image(write: impl Fn(&mut ImageWriter<'_>)) -> Vec<u8> {
    let mut image = Vec::new();
    let mut writer = ImageWriter::new(&mut image, &[6; 16]);
    write(&mut writer);
    writer.finish().unwrap();
    image
}

/// The frame of an entry that points back to its context.
fn frame() -> EntryFrame<'static> {
    EntryFrame {
        xid: 700,
        position: 2,
        occurred_at: 1_700_000_000_000_000,
        context: ContextPlace::Back(2),
        trailer: None,
    }
}

/// A context, encoded.
fn context() -> Vec<u8> {
    let mut out = Vec::new();
    Context {
        source: ContextSource::Trusted,
        tenant_id: Some("acme"),
        user_id: None,
        session_id: None,
        service_name: None,
        client_ip: Some("192.0.2.1"),
        user_agent: None,
        authenticated_role: Some("app"),
        session_role: Some("app"),
        current_role: Some("app"),
        application_name: None,
    }
    .encode(&mut out);
    out
}

/// An entry with a trailer.
fn ended(mut leaf: Vec<u8>) -> Vec<u8> {
    let mut chain = TransactionChain::new();
    chain.push(&[3; 32]);
    let mac = AuditMac::new(&[8; 32]);
    Trailer::close(&mut leaf, &chain, [2; 16], [1; 8], &mac).unwrap();
    leaf
}

/// Changes of rows: each operation, with and without a record id, a context and a trailer.
fn rows() -> Vec<Vec<u8>> {
    let operations = [
        (Operation::Insert, Some("1")),
        (Operation::Update, Some("sha256:00")),
        (Operation::Delete, None),
        (Operation::Truncate, None),
        (Operation::Snapshot, Some("1")),
    ];
    let row = |frame, (operation, record_id)| {
        encode(&Leaf::Row(RowLeaf {
            frame,
            operation,
            shape: [4; 32],
            image_commit: match operation {
                Operation::Truncate => [0; 32],
                _ => [5; 32],
            },
            record_id,
        }))
    };
    let context = context();
    let holder = EntryFrame {
        context: ContextPlace::Here(&context),
        ..frame()
    };
    let mut rows = Vec::from(operations.map(|operation| row(frame(), operation)));
    rows.push(row(holder, operations[0]));
    rows.push(ended(row(holder, operations[0])));
    rows.push(ended(row(frame(), operations[2])));
    rows
}

fn leaves() -> Vec<Vec<u8>> {
    let snapshot = |xmin, xmax| Snapshot {
        xmin,
        xmax,
        xip: vec![xmin],
    };
    let shape = Shape {
        relation_oid: 16_384,
        schema: "public".into(),
        table: "orders".into(),
        columns: vec![Column {
            attnum: 1,
            name: "id".into(),
            type_name: "bigint".into(),
            kind: ColumnKind::Number,
            record_id: true,
            redacted: false,
            excluded: false,
        }],
    };
    let content = shape.encode_content().unwrap();
    let leaves = [
        Leaf::Shape(ShapeLeaf {
            xid: 700,
            position: 1,
            content: &content,
        }),
        Leaf::Seal(SealLeaf {
            block_no: 1,
            first_leaf: 10,
            previous_size: 10,
            previous_root: [7; 32],
            snapshot_before: snapshot(1, 5),
            snapshot_after: snapshot(5, 9),
            sealed_at: 1_700_000_000_000_000,
        }),
    ];
    let more = [
        Leaf::Incarnation(IncarnationLeaf {
            incarnation: [2; 16],
            system_identifier: 1,
            database_oid: 5,
            timeline: 1,
            previous_size: 0,
            previous_root: [0; 32],
            reason: "created",
            at: 1_700_000_000_000_000,
        }),
        Leaf::KeyChange(KeyChangeLeaf {
            frame: frame(),
            old_key: [5; 32],
            new_key: [6; 32],
        }),
        Leaf::Restore(RestoreLeaf {
            frame: frame(),
            restored_size: 12,
            reason: "a disk failed",
        }),
        Leaf::Event(EventLeaf {
            frame: frame(),
            severity: Severity::High,
            event_type: "login_failed",
            details: Details::new("{}").unwrap(),
        }),
        Leaf::Violation(ViolationLeaf {
            xid: 700,
            kind: ViolationKind::TrailerMissing,
            detail: "detail",
            at: 1_700_000_000_000_000,
        }),
    ];
    let orders = [
        Leaf::Prune(PruneLeaf {
            frame: frame(),
            from: 0,
            to: 1024,
            root: [4; 32],
            checkpoint_size: 1500,
            period: 1,
        }),
        Leaf::Erase(EraseLeaf {
            frame: frame(),
            relation_oid: 16_400,
            schema: "public",
            table: "accounts",
            record_id: "7",
            reason: "request",
        }),
        Leaf::Retention(RetentionLeaf {
            frame: frame(),
            period: 0,
            effective_at: 1,
        }),
    ];
    let leaves = leaves.into_iter().chain(more).chain(orders);
    let mut encoded = rows();
    encoded.extend(leaves.map(|leaf| encode(&leaf)));
    encoded.push(content.clone());
    encoded
}

fn encode(leaf: &Leaf<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    leaf.encode(&mut out);
    out
}
