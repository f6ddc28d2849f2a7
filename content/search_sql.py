"""The search's statements, for either database: whom they are for, what they find, and how many.

Each `…_COUNT` has the conditions of the one before it. Of what stands in `content_searchentry`, the first two of each
database use the index that holds nothing of members' texts.
"""

# What was made members' past `indexing`, by an UPDATE, is not found by others before it is indexed anew: of what the
# index knows as members', `body` is empty.
SQLITE_EVERYONE = """
SELECT item.id, highlight(content_search_for_everyone, 0, %s, %s), highlight(content_search_for_everyone, 1, %s, %s),
    snippet(content_search_for_everyone, 3, %s, %s, '…', 32)
FROM content_search_for_everyone JOIN content_item item ON item.id = content_search_for_everyone.rowid
WHERE content_search_for_everyone MATCH %s AND published_at <= %s
    AND (visibility = 'public' OR content_search_for_everyone.body = '')
ORDER BY bm25(content_search_for_everyone, 10, 3, 5, 1), published_at DESC, item.id DESC LIMIT %s OFFSET %s
"""
SQLITE_EVERYONE_COUNT = """
SELECT count(*) FROM content_search_for_everyone JOIN content_item item ON item.id = content_search_for_everyone.rowid
WHERE content_search_for_everyone MATCH %s AND published_at <= %s
    AND (visibility = 'public' OR content_search_for_everyone.body = '')
"""
SQLITE_MEMBERS = """
SELECT item.id, highlight(content_search_for_members, 0, %s, %s), highlight(content_search_for_members, 1, %s, %s),
    CASE visibility WHEN 'public' THEN snippet(content_search_for_members, 3, %s, %s, '…', 32)
    ELSE snippet(content_search_for_members, 4, %s, %s, '…', 32) END
FROM content_search_for_members JOIN content_item item ON item.id = content_search_for_members.rowid
WHERE content_search_for_members MATCH %s AND published_at <= %s
ORDER BY bm25(content_search_for_members, 10, 3, 5, 1, 1), published_at DESC, item.id DESC LIMIT %s OFFSET %s
"""
SQLITE_MEMBERS_COUNT = """
SELECT count(*) FROM content_search_for_members JOIN content_item item ON item.id = content_search_for_members.rowid
WHERE content_search_for_members MATCH %s AND published_at <= %s
"""
POSTGRESQL_EVERYONE = """
SELECT item_id, ts_headline('english', title, query, %s), ts_headline('english', summary, query, %s),
    ts_headline('english', body, query, %s)
FROM (
    SELECT item_id, entry.title, entry.summary, entry.body, query, published_at, ts_rank(for_everyone, query) AS rank
    FROM content_searchentry entry JOIN content_item item ON item.id = item_id,
        websearch_to_tsquery('english', %s) AS query
    WHERE for_everyone @@ query AND published_at <= %s AND (visibility = 'public' OR entry.body = '')
    ORDER BY rank DESC, published_at DESC, item_id DESC LIMIT %s OFFSET %s
) AS found
ORDER BY rank DESC, published_at DESC, item_id DESC
"""
POSTGRESQL_EVERYONE_COUNT = """
SELECT count(*) FROM content_searchentry entry JOIN content_item item ON item.id = item_id
WHERE for_everyone @@ websearch_to_tsquery('english', %s) AND published_at <= %s
    AND (visibility = 'public' OR entry.body = '')
"""
POSTGRESQL_MEMBERS = """
SELECT item_id, ts_headline('english', title, query, %s), ts_headline('english', summary, query, %s),
    ts_headline('english', body || members_body, query, %s)
FROM (
    SELECT item_id, entry.title, entry.summary, entry.body, members_body, query, published_at,
        ts_rank(for_members, query) AS rank
    FROM content_searchentry entry JOIN content_item item ON item.id = item_id,
        websearch_to_tsquery('english', %s) AS query
    WHERE for_members @@ query AND published_at <= %s
    ORDER BY rank DESC, published_at DESC, item_id DESC LIMIT %s OFFSET %s
) AS found
ORDER BY rank DESC, published_at DESC, item_id DESC
"""
POSTGRESQL_MEMBERS_COUNT = """
SELECT count(*) FROM content_searchentry entry JOIN content_item item ON item.id = item_id
WHERE for_members @@ websearch_to_tsquery('english', %s) AND published_at <= %s
"""
