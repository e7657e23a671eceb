//! The fields of one record, one after the other in one piece of memory that the next record uses again: a field costs
//! no allocation.

/// Fields in order. One is written with [`Fields::add`] and closed with [`Fields::end`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    text: String,
    /// Where each closed field ends in `text`.
    ends: Vec<usize>,
}

impl Fields {
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Appends to the field that is being written.
    pub fn add(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    /// Closes the field that is being written.
    pub fn end(&mut self) {
        self.ends.push(self.text.len());
    }

    pub fn push(&mut self, field: &str) {
        self.add(field);
        self.end();
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all fields.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The field at that place; empty where there is none.
    pub fn get(&self, index: usize) -> &str {
        let Some(end) = self.ends.get(index) else { return "" };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..*end]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Appends empty fields until there are so many.
    pub fn fill_up(&mut self, width: usize) {
        while self.len() < width {
            self.end();
        }
    }
}

impl<'a> FromIterator<&'a str> for Fields {
    fn from_iter<T: IntoIterator<Item = &'a str>>(fields: T) -> Self {
        let mut all = Self::default();
        for field in fields {
            all.push(field);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_beside_each_other() {
        let mut fields: Fields = ["one", "", "çay"].into_iter().collect();
        fields.add("fo");
        assert_eq!(fields.len(), 3);
        fields.add("ur");
        fields.end();
        fields.fill_up(5);
        assert_eq!(fields.iter().collect::<Vec<_>>(), ["one", "", "çay", "four", ""]);
        assert_eq!((fields.get(2), fields.get(9)), ("çay", ""));
        fields.clear();
        assert_eq!((fields.len(), fields.bytes()), (0, 0));
    }
}
