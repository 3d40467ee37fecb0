-- Answers of tasks.txt by depth: a line counts as right when every token of its answer, and the line end after it, is the most
-- likely one (rank 0) with the true tokens before it. Lines cut by a window's border are left out.
-- Parameters: @newline, @arrow (">"), @minus (" -" before it), @equals (" ="); the table kinds(first, second, kind) names a line by
-- its first two tokens.
CREATE TEMP TABLE fed AS
  SELECT p.model_name, p.trajectory_id, p.window, t.pos, t.token_id, t.target_id,
         lag(t.token_id) OVER w AS before, coalesce(sum(t.token_id = @newline) OVER w, 0) AS line
  FROM tokens t JOIN points p ON p.id = t.point_id
  WHERE p.text_name = 'tasks.txt' AND p.id IN (SELECT min(id) FROM points WHERE trajectory_id IS NOT NULL AND status = 'done'
                                               AND text_name = 'tasks.txt' AND family LIKE 'raven%' GROUP BY trajectory_id)
  WINDOW w AS (PARTITION BY p.id ORDER BY t.pos);
CREATE INDEX temp.fed_by_pos ON fed(trajectory_id, pos);
CREATE INDEX temp.fed_by_line ON fed(trajectory_id, line, pos);

WITH lines AS (
  SELECT model_name, trajectory_id, line, min(pos) AS first_pos,
         coalesce(max(CASE WHEN token_id = @arrow AND before = @minus THEN pos END),
                  max(CASE WHEN token_id = @equals THEN pos END)) AS mark
  FROM fed GROUP BY trajectory_id, line
  HAVING min(pos) / window = max(pos) / window AND max(target_id = @newline) = 1
),
named AS (
  SELECT l.*, coalesce((SELECT k.kind FROM fed a JOIN fed b ON b.trajectory_id = a.trajectory_id AND b.pos = a.pos + 1
                        JOIN kinds k ON k.first = a.token_id AND k.second = b.token_id
                        WHERE a.trajectory_id = l.trajectory_id AND a.pos = l.first_pos + (l.line > 0)),
                       (SELECT CASE WHEN m.token_id = @arrow THEN 'variables' ELSE 'arithmetic' END FROM fed m
                        WHERE m.trajectory_id = l.trajectory_id AND m.pos = l.mark)) AS kind
  FROM lines l WHERE l.mark IS NOT NULL
),
answered AS (
  SELECT n.model_name, n.kind, s.step, n.line, min(s.target_rank = 0) AS is_right
  FROM named n JOIN fed f ON f.trajectory_id = n.trajectory_id AND f.line = n.line AND f.pos >= n.mark
  JOIN steps s ON s.trajectory_id = n.trajectory_id AND s.pos = f.pos
  WHERE s.step IN (1, 2, 3, 4, 6, 8, 12, 16) GROUP BY n.trajectory_id, n.line, s.step
)
SELECT '| ' || model_name, ' | ' || kind, ' | ' || step, ' | ' || count(*), printf(' | %.1f %% |', 100.0 * avg(is_right))
FROM (SELECT model_name, kind, step, is_right FROM answered UNION ALL SELECT model_name, 'all', step, is_right FROM answered)
GROUP BY model_name, kind, step ORDER BY model_name, kind = 'all' DESC, kind, step;
