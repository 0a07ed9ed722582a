//! Targets of ward-log: what a reader takes from tables, exports and files that others may have changed.

use ward_log::{Checkpoint, Image, Leaf, Records, Shape, vkey};

/// What reads as a leaf is written as the same bytes, so no two leaves have one meaning.
pub fn log_leaf(bytes: &[u8]) {
    if let Ok(leaf) = Leaf::parse(bytes) {
        let mut again = Vec::new();
        leaf.encode(&mut again);
        assert_eq!(again, bytes);
        let _ = leaf.place();
        if let Leaf::Shape(shape) = &leaf {
            let _ = shape.shape();
        }
        if let Leaf::Trailer(trailer) = &leaf {
            assert!(!trailer.verify_mac(&[7; 32]));
        }
    }
    if let Ok(shape) = Shape::parse_content(bytes) {
        assert_eq!(shape.encode_content().as_deref(), Ok(bytes));
    }
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
