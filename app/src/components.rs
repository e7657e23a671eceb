//! The parts that pages share: props in, events out, nothing fetched. Their looks are in `style/`, one partial each.

mod button;
mod card;
mod change;
mod class_table;
mod cleanliness_badge;
mod confusion;
mod dialog;
mod field;
mod labels;
mod notice;
mod page_header;
mod pager;
mod pill;
mod progress;
mod site_header;
mod stat;
mod table;
mod time_stamp;

pub use button::{Button, ButtonKind, ButtonLink};
pub use card::{Card, EmptyState, Fold};
pub use change::{BeforeAfter, Change, ChangeTile};
pub use class_table::ClassTable;
pub use cleanliness_badge::CleanlinessBadge;
pub use confusion::Confusion;
pub use dialog::Ask;
pub use field::{Field, Segmented};
pub use labels::{LabelBar, LabelChart, LabelName, label_class};
pub use notice::{ErrorNotice, Loading, Notice, Tone};
pub use page_header::PageHeader;
pub use pager::Pager;
pub use pill::{ExportPill, ModelPill, Pill, StatusPill};
pub use progress::ProgressBar;
pub use site_header::SiteHeader;
pub use stat::{Stat, Stats};
pub use table::TableScroll;
pub use time_stamp::TimeStamp;
