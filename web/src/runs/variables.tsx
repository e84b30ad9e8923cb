// What stands for the {{names}} of a package's prompt: a field for each, as its author described it.
import { NumberInput, Select, Switch, Textarea, TextInput } from '@mantine/core';
import styles from './variables.module.css';

type Values = Readonly<Record<string, string>>;
type Sent = Record<string, string | number | boolean>;

/** Of a variable as catalog.packages describes it: a part of JSON schema. */
export type Variable = {
  name: string;
  type: 'string' | 'number' | 'integer' | 'boolean';
  title: string;
  description: string | undefined;
  isRequired: boolean;
  choices: string[] | undefined;
  fallback: string | undefined;
  minimum: number | undefined;
  maximum: number | undefined;
  maxLength: number | undefined;
};

/** The variables of a version, in the order in which its author named them. */
export function variablesOf(schema: Record<string, unknown> | null | undefined): Variable[] {
  if (!isObject(schema?.properties)) return [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(schema.properties).flatMap(([name, one]) => {
    if (!isObject(one)) return [];
    const { type, title, description, enum: choices, default: fallback } = one;
    if (type !== 'string' && type !== 'number' && type !== 'integer' && type !== 'boolean') return [];
    return {
      ...{ name, type },
      title: text(title) ?? name.replaceAll('_', ' '),
      description: text(description),
      isRequired: required.includes(name) && fallback === undefined,
      choices: Array.isArray(choices) ? choices.map(String) : undefined,
      fallback: fallback === undefined ? undefined : String(fallback),
      ...{ minimum: number(one.minimum), maximum: number(one.maximum), maxLength: number(one.maxLength) },
    };
  });
}

/** What is sent for them: what was filled in, as what it is described. Null where nothing was. */
export function valuesOf(variables: readonly Variable[], values: Values): Sent | null {
  const sent = variables.flatMap(({ name, type }): [string, string | number | boolean][] => {
    const value = values[name];
    if (value === undefined || value === '') return [];
    if (type === 'string') return [[name, value]];
    return [[name, type === 'boolean' ? value === 'true' : Number(value)]];
  });
  return sent.length === 0 ? null : Object.fromEntries(sent);
}

/** The first that has to be filled in and is not. */
export const missingOf = (variables: readonly Variable[], values: Values) =>
  variables.find(({ name, isRequired }) => isRequired && (values[name] ?? '').trim() === '');

type FormProps = {
  variables: readonly Variable[];
  values: Values;
  onChange: (name: string, value: string) => void;
  /** Of a session that goes on: what is left out is as it was in its last run. */
  isContinued: boolean;
};

export function VariablesForm({ variables, values, onChange, isContinued }: FormProps) {
  return (
    <fieldset className={styles.form}>
      <legend className={styles.legend}>
        {isContinued
          ? 'What the prompt is filled in with (as in the last run, where empty)'
          : 'What the prompt is filled in with'}
      </legend>
      {variables.map((one) => (
        <Field
          key={one.name}
          variable={one}
          value={values[one.name] ?? ''}
          isRequired={one.isRequired && !isContinued}
          onChange={(value) => onChange(one.name, value)}
        />
      ))}
    </fieldset>
  );
}

type FieldProps = { variable: Variable; value: string; isRequired: boolean; onChange: (value: string) => void };

function Field({ variable, value, isRequired, onChange }: FieldProps) {
  const { type, title, description, choices, fallback, minimum, maximum, maxLength } = variable;
  const common = { label: title, description, required: isRequired, size: 'sm' } as const;
  if (type === 'boolean')
    return (
      <Switch
        {...{ label: title, description, size: 'sm' }}
        checked={(value === '' ? fallback : value) === 'true'}
        onChange={(event) => onChange(String(event.currentTarget.checked))}
        className={styles.truth}
      />
    );
  if (choices !== undefined)
    return (
      <Select
        {...common}
        data={choices}
        value={value === '' ? (fallback ?? null) : value}
        onChange={(chosen) => onChange(chosen ?? '')}
        placeholder={isRequired ? 'Choose one' : undefined}
        allowDeselect={!isRequired}
      />
    );
  if (type !== 'string')
    return (
      <NumberInput
        {...common}
        value={value}
        onChange={(entered) => onChange(String(entered))}
        placeholder={fallback}
        allowDecimal={type === 'number'}
        {...(minimum !== undefined && { min: minimum })}
        {...(maximum !== undefined && { max: maximum })}
        clampBehavior="none"
        error={wrongNumber(value, minimum, maximum)}
      />
    );
  const words = { ...common, value, placeholder: fallback, maxLength };
  if ((maxLength ?? 10_000) <= 200)
    return <TextInput {...words} onChange={(event) => onChange(event.currentTarget.value)} />;
  return (
    <Textarea {...words} autosize minRows={1} maxRows={6} onChange={(event) => onChange(event.currentTarget.value)} />
  );
}

function wrongNumber(value: string, minimum: number | undefined, maximum: number | undefined): string | undefined {
  if (value === '') return undefined;
  if (minimum !== undefined && Number(value) < minimum) return `${minimum} or more`;
  if (maximum !== undefined && Number(value) > maximum) return `${maximum} or less`;
  return undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
const number = (value: unknown) => (typeof value === 'number' ? value : undefined);
