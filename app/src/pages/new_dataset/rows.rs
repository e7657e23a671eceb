use crate::components::{Card, TableScroll};
use crate::format;
use domain::reading::{TextSource, UploadPreview};
use leptos::prelude::*;

/// The first rows as they were cut into fields, the columns that count marked.
#[component]
pub fn FirstRows(preview: RwSignal<UploadPreview>) -> impl IntoView {
    let head = move || {
        let preview = preview.read();
        let cells = preview.columns.iter().enumerate().map(|(index, name)| {
            let part = part_of(&preview, index, name);
            view! {
                <th scope="col" class=class_of(part)>
                    {column_name(index, name)}
                    {part.map(|part| view! { <span class="preview-part">{part}</span> })}
                </th>
            }
        });
        cells.collect_view()
    };
    let rows = move || {
        let preview = preview.read();
        let classes: Vec<&str> =
            preview.columns.iter().enumerate().map(|(index, name)| class_of(part_of(&preview, index, name))).collect();
        let rows = preview.rows.iter().map(|row| {
            let cells = row.iter().zip(&classes).map(|(field, class)| view! { <td class=*class>{field.clone()}</td> });
            view! { <tr>{cells.collect_view()}</tr> }
        });
        rows.collect_view()
    };
    view! {
        <Card title="First rows">
            <TableScroll label="First rows of the file">
                <table class="table preview-table">
                    <thead>
                        <tr>{head}</tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </TableScroll>
        </Card>
    }
    .into_any()
}

/// Rows that cannot be read this way, with their lines: of a few it is said why; of many the reading is wrong.
#[component]
pub fn Trouble(preview: RwSignal<UploadPreview>) -> impl IntoView {
    let rows = move || {
        let preview = preview.read();
        let rows = preview.trouble.iter().map(|row| {
            view! {
                <tr>
                    <td class="number" data-name="Line">
                        {format::count(row.line)}
                    </td>
                    <td data-name="Why">{row.reason.clone()}</td>
                    <td data-name="What stands there">
                        <code class="excerpt">{row.excerpt.clone()}</code>
                    </td>
                </tr>
            }
        });
        rows.collect_view()
    };
    view! {
        <Show when=move || !preview.read().trouble.is_empty()>
            <Card
                title="Rows that cannot be read"
                note="The first ones. They will be listed with the dataset and left out; if there are many, something above is not as the file has it."
            >
                <TableScroll label="Rows that cannot be read">
                    <table class="table table-restack">
                        <thead>
                            <tr>
                                <th scope="col" class="number">
                                    "Line"
                                </th>
                                <th scope="col">"Why"</th>
                                <th scope="col">"What stands there"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </TableScroll>
            </Card>
        </Show>
    }
    .into_any()
}

pub fn column_name(index: usize, name: &str) -> String {
    if name.trim().is_empty() { format!("Column {}", index + 1) } else { name.to_string() }
}

/// What a column is taken for.
fn part_of(preview: &UploadPreview, index: usize, name: &str) -> Option<&'static str> {
    let is_text = match &preview.options.text {
        TextSource::Column(column) => *column == index,
        TextSource::Template(template) => template.contains(&format!("{{{name}}}")),
    };
    if is_text {
        return Some("text");
    }
    if preview.options.label_column == index {
        return Some("label");
    }
    (preview.options.split_column == Some(index)).then_some("split")
}

fn class_of(part: Option<&str>) -> &'static str {
    match part {
        Some("text") => "preview-cell is-text",
        Some("label") => "preview-cell is-label",
        _ => "preview-cell",
    }
}
