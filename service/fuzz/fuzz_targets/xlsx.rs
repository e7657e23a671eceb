//! The sheet and the shared strings of a workbook: rows, or a refusal in words. The rest of the workbook is whole, or
//! nothing else would be found than that it is not.
#![no_main]

use domain::reading::ReadWish;
use fuzz::Bounded;
use libfuzzer_sys::fuzz_target;
use service_fuzz::{let_parsers_panic, look_and_read};
use std::io::Write;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

#[global_allocator]
static ALLOCATOR: Bounded<{ 256 << 20 }> = Bounded;

const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

fuzz_target!(init: let_parsers_panic(), |bytes: &[u8]| {
    // What stands before the first zero byte are the shared strings.
    let cut = bytes.iter().position(|byte| *byte == 0);
    let (strings, sheet) = cut.map_or((&b""[..], bytes), |cut| (&bytes[..cut], &bytes[cut + 1..]));
    let relations = |id: &str, kind: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id=\"{id}\" Type=\"{RELATIONS}/{kind}\" Target=\"{target}\"/></Relationships>"
        )
    };
    let workbook = format!(
        "<workbook xmlns:r=\"{RELATIONS}\"><sheets><sheet name=\"S\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
    );
    let styles = "<styleSheet><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>";
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, part) in [
        ("[Content_Types].xml", &b"<Types/>"[..]),
        ("_rels/.rels", relations("rId1", "officeDocument", "xl/workbook.xml").as_bytes()),
        ("xl/workbook.xml", workbook.as_bytes()),
        ("xl/_rels/workbook.xml.rels", relations("rId1", "worksheet", "worksheets/sheet1.xml").as_bytes()),
        ("xl/styles.xml", styles.as_bytes()),
        ("xl/sharedStrings.xml", strings),
        ("xl/worksheets/sheet1.xml", sheet),
    ] {
        let way = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(name, way).expect("a part of the workbook");
        archive.write_all(part).expect("its bytes");
    }
    look_and_read(archive.finish().expect("the workbook").get_ref(), &ReadWish::default());
});
