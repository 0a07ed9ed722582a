//! Targets of ward-log: what a reader takes from tables, exports and files that others may have changed.

use ward_log::{
    AuditMac, Checkpoint, Context, ContextPlace, Image, Leaf, MacCheck, Records, Shape, SignedNote,
    Trailer, VerifierKey, WitnessKey, cosigned_at, has_trailer, holds_context, record_of, vkey,
};

/// What reads as a leaf is written as the same bytes, so no two leaves have one meaning.
pub fn log_leaf(bytes: &[u8]) {
    if let Ok(leaf) = Leaf::parse(bytes) {
        let mut again = Vec::new();
        leaf.encode(&mut again);
        assert_eq!(again, bytes);
        let _ = leaf.place();
        if let Leaf::Row(row) = &leaf {
            let record = row.record_id.map(|id| (&row.shape, id.as_bytes()));
            assert_eq!(record_of(bytes), record);
        }
        if let Leaf::Shape(shape) = &leaf {
            let _ = shape.shape();
        }
        let frame = leaf.frame();
        let held = match frame.map(|frame| frame.context) {
            Some(ContextPlace::Here(context)) => Some(context),
            _ => None,
        };
        assert_eq!(holds_context(bytes), held.is_some());
        assert_eq!(
            leaf.context(),
            held.map(|held| Context::parse(held).unwrap())
        );
        let key_id = frame
            .and_then(|frame| frame.trailer)
            .map(|trailer| trailer.audit_key_id);
        assert_eq!(has_trailer(bytes), key_id.is_some());
        assert_eq!(forged(bytes), key_id.map(|id| (id, MacCheck::Forged)));
    }
    // reads bytes that are no leaf, too
    let _ = (record_of(bytes), holds_context(bytes), forged(bytes));
    if let Ok(shape) = Shape::parse_content(bytes) {
        assert_eq!(shape.encode_content().as_deref(), Ok(bytes));
    }
}

/// The key that a trailer names, and what a key says of it with which nobody here has made one.
fn forged(bytes: &[u8]) -> Option<([u8; 8], MacCheck)> {
    let mac = AuditMac::new(&[7; 32]);
    let mut named = [0; 8];
    let checked = Trailer::check(bytes, |id| {
        named = *id;
        Some(&mac)
    });
    checked.map(|checked| (named, checked))
}

/// Records of a journal.
pub fn log_record(bytes: &[u8]) {
    let mut read = 0;
    for record in Records::new(bytes) {
        let Ok(record) = record else { break };
        read += record.leaf.len() + record.image.map_or(0, <[u8]>::len);
        let _ = Leaf::parse(record.leaf);
        if let Some(image) = record.image {
            let _ = Image::parse(image);
        }
    }
    assert!(read <= bytes.len());
}

/// Images of rows.
pub fn log_image(bytes: &[u8]) {
    if let Ok(image) = Image::parse(bytes) {
        let values = [image.old, image.new].into_iter().flatten().flatten();
        assert!(values.count() <= bytes.len());
    }
}

/// Signed checkpoints. Nobody here has the key.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let key = vkey(crate::seeds::ORIGIN, &crate::seeds::SEED).unwrap();
    match Checkpoint::verify(text, &key) {
        Ok(checkpoint) => assert_eq!(checkpoint, crate::seeds::checkpoint()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // The bytes as the key of a checkpoint that is right.
    let note = crate::seeds::checkpoint()
        .sign(&crate::seeds::SEED)
        .unwrap();
    if Checkpoint::verify(&note, text).is_ok() {
        assert_eq!(text.trim_end(), key);
    }
}

/// The bytes as a note with cosignatures, as a witness's key, and as its private key.
pub fn cosignature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let witness = crate::seeds::witness();
    let key = VerifierKey::parse(&witness.vkey()).unwrap();
    if let Ok(note) = SignedNote::parse(text)
        && let Ok(time) = cosigned_at(&note, &key)
    {
        assert_eq!(time, crate::seeds::COSIGNED_AT);
        assert!(text.starts_with(&crate::seeds::checkpoint().text()));
    }
    let right = crate::seeds::cosigned();
    let note = SignedNote::parse(&right).unwrap();
    if let Ok(key) = VerifierKey::parse(text)
        && cosigned_at(&note, &key).is_ok()
    {
        assert_eq!(text, witness.vkey());
    }
    if let Ok(key) = WitnessKey::parse(text) {
        assert_eq!(*key.to_text(), text);
        assert!(VerifierKey::parse(&key.vkey()).is_ok());
    }
}
