// What every part of the bench is given: how long it may take, and where its figures go.
export type Report = (name: string, value: number, unit: string) => void;
export type Length = { seconds: number; rounds: number; quick: boolean };
