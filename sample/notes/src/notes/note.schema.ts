/** The schema of every tenant's database. Each statement may run again, whatever an interrupted set-up has left. */
export const NOTE_SCHEMA = `
  DEFINE TABLE OVERWRITE note SCHEMAFULL;
  DEFINE FIELD OVERWRITE title ON note TYPE string ASSERT string::len($value) IN 1..=120;
  DEFINE FIELD OVERWRITE body ON note TYPE string DEFAULT '' ASSERT string::len($value) <= 10000;
  DEFINE FIELD OVERWRITE created_at ON note TYPE datetime DEFAULT time::now() READONLY;
  DEFINE FIELD OVERWRITE updated_at ON note TYPE datetime VALUE time::now();

  -- What is searched: title and text in one field, each word by all of its beginnings, so that typing finds it.
  DEFINE FIELD OVERWRITE words ON note TYPE string VALUE string::join(' ', title, body);
  DEFINE ANALYZER OVERWRITE beginnings TOKENIZERS class FILTERS lowercase, ascii, edgengram(1, 20);
  DEFINE INDEX OVERWRITE note_words ON note FIELDS words FULLTEXT ANALYZER beginnings;
`;
