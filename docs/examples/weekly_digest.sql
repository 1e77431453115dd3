CREATE SCHEMA team;
CREATE TABLE team.weekly_digest (
    week timestamptz,
    user_id uuid,
    messages bigint NOT NULL,
    mailed_at timestamptz,
    PRIMARY KEY (week, user_id)
);
