// The schedules of serverless.yml. Parameters and jobs have the cron expressions of the settings; AWS writes them
// differently: six fields, one of the two days is `?`, and Sunday is 1.

const fs = require('fs');
const path = require('path');

const JOBS = path.join(__dirname, '..', '..', '..', 'build', 'jobs.json'); // written by build.py
const FIRST_AND_LAST = [[0, 59], [0, 23], [1, 31], [1, 12], [0, 7]];
const WORDS = [
  [],
  [],
  [],
  [, 'JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'],
  ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'],
];

/** Return the numbers that a field stands for, ascending. */
function numbers(text, field) {
  const [first, last] = FIRST_AND_LAST[field];
  const number = (word) => {
    const named = WORDS[field].indexOf(word.toUpperCase());
    const value = named < 0 && /^\d+$/.test(word) ? Number(word) : named;
    if (value < first || value > last) throw new Error(`AWS cannot run a job at \`${text}\``);
    return value;
  };
  const found = text.split(',').flatMap((term) => {
    const [range, step = '1'] = term.split('/');
    const [from, to = term.includes('/') ? String(last) : from] = range === '*' ? [first, last].map(String) : range.split('-');
    if (!(Number(step) > 0)) throw new Error(`AWS cannot run a job at \`${text}\``);
    const all = [];
    for (let value = number(from); value <= number(to); value += Number(step)) all.push(value);
    return all;
  });
  return [...new Set(found)].sort((one, other) => one - other);
}

function awsCron(cron) {
  const fields = cron.trim().split(/\s+/);
  if (fields.length !== 5) throw new Error(`\`${cron}\` is not a cron expression like \`17 3 * * *\``);
  const [minute, hour, day, month, weekday] = fields.map((text, field) => (text === '*' ? text : numbers(text, field)));
  if (weekday === '*') return `cron(${minute} ${hour} ${day} ${month} ? *)`;
  if (day !== '*') throw new Error(`AWS cannot ask for both days of \`${cron}\``);
  const days = [...new Set(weekday.map((number) => (number % 7) + 1))].sort();
  return `cron(${minute} ${hour} ? ${month} ${days} *)`;
}

const builtIn = (name) => async ({ resolveVariable }) => awsCron(await resolveVariable(`param:${name}Cron`));

module.exports.offlineDelivery = builtIn('offlineDelivery');
module.exports.eraseUsers = builtIn('eraseUsers');
module.exports.cleanup = builtIn('cleanup');
module.exports.archive = builtIn('archive');

/** The name of the package with jobs of your own. */
module.exports.package = async () => JSON.parse(fs.readFileSync(JOBS)).package;

/** A schedule for each job of your own. */
module.exports.ownJobs = async () => {
  const Resources = {};
  for (const { name, cron, zone, late_s } of JSON.parse(fs.readFileSync(JOBS)).jobs) {
    const words = name.split('_').filter(Boolean);
    const id = words.map((word) => word[0].toUpperCase() + word.slice(1)).join('');
    Resources[`${id}JobSchedule`] = {
      Type: 'AWS::Scheduler::Schedule',
      Properties: {
        ScheduleExpression: awsCron(cron),
        ScheduleExpressionTimezone: zone,
        FlexibleTimeWindow: { Mode: 'OFF' },
        State: 'ENABLED',
        Target: {
          Arn: { 'Fn::GetAtt': ['JobLambdaFunction', 'Arn'] },
          RoleArn: { 'Fn::GetAtt': ['SchedulerRole', 'Arn'] },
          Input: JSON.stringify({ job: name, dueAt: '<aws.scheduler.scheduled-time>' }),
          RetryPolicy: { MaximumEventAgeInSeconds: late_s, MaximumRetryAttempts: 10 },
        },
      },
    };
  }
  return { Resources };
};
