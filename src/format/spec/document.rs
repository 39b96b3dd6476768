//! spec/FORMAT.md, taken apart: headings, tables, diagrams.
#![forbid(unsafe_code)]

/// A row of a structure's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub offset: usize,
    pub size: usize,
    pub name: String,
}

/// A structure: a heading with its name and size, a diagram, a table.
#[derive(Debug)]
pub struct Structure {
    pub name: String,
    pub bytes: usize,
    pub fields: Vec<Field>,
    pub diagram: String,
}

#[derive(Debug)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// What stands between a heading and the next.
#[derive(Debug, Default)]
struct Section {
    heading: String,
    tables: Vec<Table>,
    diagrams: Vec<String>,
}

#[derive(Debug)]
pub struct Document(Vec<Section>);

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

impl Document {
    pub fn parse(text: &str) -> Self {
        let mut sections = vec![Section::default()];
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let section = sections.last_mut().expect("there is a first one");
            if line.starts_with('#') {
                sections.push(Section { heading: line.to_owned(), ..Section::default() });
            } else if line.starts_with("```text") {
                let diagram = lines.by_ref().take_while(|line| !line.starts_with("```"));
                section.diagrams.push(diagram.collect::<Vec<_>>().join("\n"));
            } else if line.starts_with('|') {
                let mut rows = Vec::new();
                while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                    rows.push(cells(row));
                }
                assert!(rows.first().is_some_and(|rule| rule[0].starts_with("---")), "{line}");
                section.tables.push(Table { columns: cells(line), rows: rows.split_off(1) });
            }
        }
        Self(sections)
    }

    /// The rows of all tables with these columns.
    pub fn rows(&self, columns: &[&str]) -> Vec<Vec<String>> {
        let tables = self.0.iter().flat_map(|section| &section.tables);
        let rows: Vec<_> = tables
            .filter(|table| table.columns == columns)
            .flat_map(|table| table.rows.clone())
            .collect();
        assert!(rows.iter().all(|row| row.len() == columns.len()), "a cell too many: {rows:?}");
        rows
    }

    /// All tables of offsets, with the name and size in the heading above.
    pub fn structures(&self) -> Vec<Structure> {
        let columns = ["offset", "size", "field", "meaning"];
        let tables = self.0.iter().flat_map(|section| {
            let tables = section.tables.iter().filter(|table| table.columns == columns);
            tables.map(move |table| (section, table))
        });
        tables.map(|(section, table)| structure(section, table)).collect()
    }

    /// The table of bits under the heading with this name.
    pub fn bits(&self, name: &str) -> Bits {
        let heading = format!("`{name}`, 64 bits");
        let section = self.0.iter().find(|section| section.heading.contains(&heading));
        let section = section.unwrap_or_else(|| panic!("no heading with {heading}"));
        let table =
            section.tables.iter().find(|table| table.columns == ["bits", "part", "meaning"]);
        Bits::new(table.unwrap_or_else(|| panic!("no table of bits under {heading}")))
    }
}

fn structure(section: &Section, table: &Table) -> Structure {
    let heading = &section.heading;
    let mut parts = heading.split('`').skip(1);
    let (name, size) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let size = size.split_whitespace().find_map(|word| word.parse().ok());
    let field = |row: &Vec<String>| {
        assert_eq!(row.len(), 4, "{heading}: {row:?}");
        assert!(!row[3].is_empty(), "{heading}: {} means nothing", row[2]);
        Field {
            offset: row[0].parse().expect("an offset"),
            size: row[1].parse().expect("a size"),
            name: row[2].trim_matches('`').to_owned(),
        }
    };
    assert_eq!(section.diagrams.len(), 1, "{heading}: one diagram");
    Structure {
        name: name.to_owned(),
        bytes: size.unwrap_or_else(|| panic!("{heading}: no size")),
        fields: table.rows.iter().map(field).collect(),
        diagram: section.diagrams[0].clone(),
    }
}

/// Which bits of a word each part has.
#[derive(Debug)]
pub struct Bits(Vec<(String, u32, u32)>);

impl Bits {
    fn new(table: &Table) -> Self {
        let mut next = 64;
        let part = |row: &Vec<String>| {
            let (high, low) = row[0].split_once(':').unwrap_or((&row[0], &row[0]));
            let [high, low]: [u32; 2] = [high, low].map(|bit| bit.parse().expect("a bit"));
            assert_eq!(high + 1, next, "bits between {} and the part before", row[1]);
            next = low;
            (row[1].trim_matches('`').to_owned(), high, low)
        };
        let parts = table.rows.iter().map(part).collect();
        assert_eq!(next, 0, "bits behind the last part");
        Self(parts)
    }

    /// A word in which this part has this value.
    pub fn put(&self, name: &str, value: u64) -> u64 {
        let part = self.0.iter().find(|(part, ..)| part == name);
        let (_, high, low) = part.unwrap_or_else(|| panic!("no bits {name}"));
        assert!(value < 1 << (high - low + 1), "{value} in {name}");
        value << low
    }
}

/// Characters of a byte's column, border included.
const COLUMN: usize = 11;

/// The diagram of these fields: eight bytes a row.
pub fn diagram(fields: &[Field]) -> String {
    let head: String = (0..8).map(|byte| format!(" {byte:^10}")).collect();
    let rule = format!("      {}+", "+----------".repeat(8));
    let mut lines = vec![format!("      {}", head.trim_end()), rule.clone()];
    let end = fields.iter().map(|field| field.offset + field.size).max().unwrap_or(0);
    for row in (0..end).step_by(8) {
        let mut line = format!("{row:>4}  ");
        let inside = |field: &&Field| field.offset < row + 8 && field.offset + field.size > row;
        for field in fields.iter().filter(inside) {
            let bytes = (field.offset + field.size).min(row + 8) - field.offset.max(row);
            let name = if field.offset >= row { field.name.as_str() } else { "" };
            line += &format!("|{name:^width$}", width = bytes * COLUMN - 1);
        }
        lines.push(line + "|");
        let goes_on =
            |field: &Field| (field.offset..field.offset + field.size).contains(&(row + 7));
        let ends = |field: &Field| field.offset + field.size == row + 8;
        if fields.iter().any(|field| goes_on(field) && ends(field)) || row + 8 >= end {
            lines.push(rule.clone());
        }
    }
    lines.join("\n")
}

/// A number as `64`, `2^30` or `2^28 - 1`.
pub fn number(cell: &str) -> Option<u64> {
    if let Some((left, right)) = cell.split_once(" - ") {
        return number(left)?.checked_sub(number(right)?);
    }
    match cell.split_once('^') {
        Some((base, exponent)) => {
            base.parse::<u64>().ok()?.checked_pow(exponent.parse::<u32>().ok()?)
        }
        None => cell.parse().ok(),
    }
}

/// The bytes of a text in double quotes, with `\r` and `\n`.
pub fn unquoted(cell: &str) -> Option<Vec<u8>> {
    let text = cell.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.replace("\\r", "\r").replace("\\n", "\n").into_bytes())
}
